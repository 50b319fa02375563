import { describe, expect, it } from "vitest";
import type { Metrics } from "../src/run/events.ts";
import { ppo } from "../src/stages/ppo/train.ts";
import { PpoTrainer } from "../src/stages/ppo/trainer.ts";
import { memory, noGrad, scope } from "../src/tensor/index.ts";
import { tinyModel } from "./tiny.ts";

const prompts = ["go", "stop", "wait", "run", "sit", "eat", "read", "sing"].map((content) => ({
  prompt: [{ role: "user" as const, content }],
}));
const common = {
  allowNoSft: true,
  adaptiveKl: false,
  maxTokens: 16,
  batchSize: 64,
  samplesPerPrompt: 4,
  miniBatchSize: 64,
  ppoEpochs: 2,
  schedule: "constant" as const,
  logSamples: 64,
};
/** Share of a text's tokens that are the word "yes". */
const yeses = (text: string) => (text.match(/ yes/g)?.length ?? 0) / 16;

describe("PPO on a tiny model", () => {
  it.each([
    ["all weights", {}, 3e-3],
    ["adapters", { lora: { rank: 8 } }, 1e-2],
    ["adapters and a head for a critic", { lora: { rank: 8 }, critic: "shared" as const }, 1e-2],
  ])(
    "fills the responses with a rewarded word when β is 0, learning with %s",
    async (_, lora, learningRate) => {
      const policy = tinyModel();
      // Adapters leave the embedding as it is, and one this small gives no token more than 2 %.
      if ("lora" in lora)
        noGrad(() => scope(() => policy.parameters.get("model.embed_tokens.weight")?.mul_(5)));
      const seen: Metrics[] = [];
      let last: string[] = [];
      const training = ppo({
        ...common,
        policy,
        prompts,
        steps: 40,
        initKlCoef: 0,
        learningRate,
        ...lora,
        reward: (_, response) => yeses(response),
      });
      for await (const event of training) {
        if (event.type === "step") seen.push(event.metrics);
        if (event.type === "sample" && event.step === 40) last = [...last, event.response];
      }
      const score = (i: number) => seen.at(i)?.["objective/scores"] as number;
      expect(score(0)).toBeLessThan(0.05);
      expect(score(-1)).toBeGreaterThan(0.5);
      expect(last.filter((text) => yeses(text) > 0.25).length / last.length).toBeGreaterThan(0.8);
      // The input model is the reference: its weights did not change.
      expect(seen.at(-1)?.["objective/kl"]).toBeGreaterThan(5);
    },
    120_000,
  );

  it("stays at the reference when β is 10", async () => {
    const seen: Metrics[] = [];
    const training = ppo({
      ...common,
      policy: tinyModel(),
      prompts,
      steps: 40,
      initKlCoef: 10,
      learningRate: 3e-3,
      criticLearningRate: 3e-3,
      reward: (_, response) => yeses(response),
    });
    for await (const event of training) if (event.type === "step") seen.push(event.metrics);
    const late = seen.slice(-10).map((metrics) => metrics["objective/kl_k3"] as number);
    expect(late.reduce((a, b) => a + b) / 10).toBeLessThan(0.5);
    expect(seen.at(-1)?.["objective/scores"]).toBeLessThan(0.1);
  }, 120_000);

  it("begins every step with ratios of 1, and agrees with the sampler", async () => {
    const trainer = new PpoTrainer({
      policy: tinyModel(),
      maxTokens: 16,
      learningRate: 1e-3,
      miniBatchSize: 8,
      temperature: 0.8,
    });
    for (let step = 0; step < 3; step++) {
      const completions = await trainer.sample(["go", "stop a while", "run"], { samples: 4 });
      const { metrics } = await trainer.step(completions.map((one) => ({ ...one, score: one.text.length })));
      // float32: log-probs of about −6 differ in the last digits between a batch of 1 token and one of all.
      expect(Math.abs((metrics["val/first_ratio_worst"] as number) - 1)).toBeLessThan(1e-4);
      expect(Math.abs((metrics["val/rollout_ratio_worst"] as number) - 1)).toBeLessThan(1e-4);
    }
  });

  it("leaves as many tensors after 50 steps as after 5", async () => {
    const trainer = new PpoTrainer({ policy: tinyModel(), maxTokens: 8, miniBatchSize: 4, ppoEpochs: 1 });
    const handles: number[] = [];
    for (let step = 1; step <= 50; step++) {
      const completions = await trainer.sample(["go", "stop"], { samples: 4 });
      await trainer.step(completions.map((one) => ({ ...one, score: one.text.length })));
      handles.push(memory().handles);
    }
    expect(handles[49]).toBe(handles[4]);
  });

  it.each([
    ["a score that is not a number", [1, Number.NaN], /score of sample 1 is NaN/],
    ["no sample", [], /one sample at least/],
  ])("refuses %s", async (_, scores, message) => {
    const trainer = new PpoTrainer({ policy: tinyModel() });
    const samples = scores.map((score, i) => ({ promptTokens: [1 + i], tokens: [3 + i], score }));
    await expect(trainer.step(samples)).rejects.toThrow(message);
  });

  it("refuses a model that never had SFT, and unknown settings", async () => {
    const reward = () => 0;
    await expect(ppo({ policy: tinyModel(), prompts, reward }).done()).rejects.toThrow(
      /never had supervised fine-tuning/,
    );
    expect(() => new PpoTrainer({ policy: tinyModel(), klCoeff: 1 } as never)).toThrow(
      /unknown key "klCoeff"/,
    );
  });
});
