import { describe, expect, it } from "vitest";
import { allSequenceLogprobs } from "../src/batch/score.ts";
import type { Comparison, Unpaired } from "../src/data/records.ts";
import type { Model } from "../src/models/model.ts";
import type { RewardInput } from "../src/rewards/open.ts";
import type { Metrics } from "../src/run/events.ts";
import type { DpoSettings } from "../src/stages/dpo/config.ts";
import { dpo } from "../src/stages/dpo/train.ts";
import type { OnlineSettings } from "../src/stages/online-dpo/config.ts";
import { onlineDpo } from "../src/stages/online-dpo/train.ts";
import { memory } from "../src/tensor/index.ts";
import { encodeExample } from "../src/text/chat.ts";
import { tinyModel } from "./tiny.ts";

const words = ["go", "stop", "wait", "run", "sit", "eat", "read", "sing"];
const prompt = (word: string) => [{ role: "user" as const, content: word }];
const comparisons: Comparison[] = words.map((word, i) => ({
  prompt: prompt(word),
  completions: [`${word} yes yes`, `no ${word}`],
  ranks: i % 2 ? [0, 1] : [0, 2],
}));
const settings: DpoSettings = {
  epochs: 10,
  batchSize: 4,
  learningRate: 3e-3,
  schedule: "constant",
  warmupRatio: 0,
  heldOut: 0,
};

async function trained(
  model: Model,
  more: DpoSettings,
  data: readonly Comparison[] | readonly Unpaired[] = comparisons,
) {
  const steps: Metrics[] = [];
  const training = dpo({ model, data: data as Comparison[], ...settings, ...more });
  for await (const event of training) if (event.type === "step") steps.push(event.metrics);
  return { ...(await training.done()), steps };
}

/** Computes how much the log-ratio of the better to the worse answer has grown in training, in nats. */
function gains(before: Model, after: Model): number[] {
  const rows = comparisons.flatMap((one) =>
    one.completions.map((text) => encodeExample(before.text, one.prompt, text)),
  );
  const [old, now] = [allSequenceLogprobs(before, rows), allSequenceLogprobs(after, rows)];
  const ratio = (i: number) => (now[i] as number) - (old[i] as number);
  return comparisons.map((_, i) => ratio(2 * i) - ratio(2 * i + 1));
}

describe("preference optimisation on a tiny model", () => {
  it.each(["sigmoid", "hinge", "ipo", "robust", "simpo", "orpo", "kto"] as const)(
    "makes the better answers likelier than the worse ones: %s",
    async (loss) => {
      const model = tinyModel();
      const { model: policy, steps } = await trained(model, { loss });
      expect(Math.min(...gains(model, policy))).toBeGreaterThan(3);
      expect(steps.at(-1)?.loss).toBeLessThan(steps[0]?.loss as number);
      if (loss !== "kto") expect(steps.at(-1)?.["rewards/accuracies"]).toBe(1);
      policy.dispose();
    },
    60_000,
  );

  it("starts at the reference: the loss is log 2 and all rewards are 0", async () => {
    const { steps } = await trained(tinyModel(), {});
    expect(steps[0]?.loss).toBeCloseTo(Math.LN2, 5);
    for (const side of ["chosen", "rejected"]) expect(steps[0]?.[`rewards/${side}`]).toBeCloseTo(0, 4);
    const kto = await trained(tinyModel(), { loss: "kto" });
    expect(kto.steps[0]?.loss).toBeCloseTo(0.5, 5);
    expect(kto.steps[0]?.kl).toBeCloseTo(0, 4);
  });

  it("computes the same with any microBatchTokens, and with checkpointing", async () => {
    const whole = await trained(tinyModel(), { microBatchTokens: 10_000 });
    for (const more of [{ microBatchTokens: 1 }, { gradientCheckpointing: true }]) {
      const { steps } = await trained(tinyModel(), more);
      // float32 sums in another order, over twenty updates.
      steps.forEach(({ loss }, i) => {
        expect(loss as number).toBeCloseTo(whole.steps[i]?.loss as number, 3);
      });
    }
  });

  it("learns by adapters, on a reference that is the model without them", async () => {
    const model = tinyModel();
    const { model: policy, steps } = await trained(model, { lora: { rank: 8 }, learningRate: 2e-2 });
    expect(steps[0]?.loss).toBeCloseTo(Math.LN2, 5);
    expect(Math.min(...gains(model, policy))).toBeGreaterThan(1);
  });

  it("learns from thumbs, and separates chosen from rejected", async () => {
    const model = tinyModel();
    const thumbs = words.map((word, i): Unpaired => {
      const label = i % 2 === 0;
      return { prompt: prompt(word), completion: label ? `${word} yes yes` : `no ${word}`, label };
    });
    const { steps, model: policy } = await trained(model, { loss: "kto", epochs: 20 }, thumbs);
    expect(steps.at(-1)?.["rewards/chosen"]).toBeGreaterThan(
      (steps.at(-1)?.["rewards/rejected"] as number) + 0.1,
    );
    // Also if only one of the two was judged.
    expect(Math.min(...gains(model, policy))).toBeGreaterThan(0);
  });

  it("leaves no tensor behind", async () => {
    const model = tinyModel();
    const before = memory().handles;
    for (const more of [{}, { loss: "kto" as const }, { lora: {} }]) {
      const { model: policy } = await trained(model, { epochs: 1, ...more });
      policy.dispose();
      expect(memory().handles).toBe(before);
    }
  });
});

describe("online DPO on a tiny model", () => {
  const run = async (more: OnlineSettings = {}, reward: RewardInput = yeses) => {
    const steps: Metrics[] = [];
    const training = onlineDpo({
      policy: tinyModel(),
      reward,
      prompts: words.map((word) => ({ prompt: prompt(word) })),
      allowNoSft: true,
      steps: 40,
      batchSize: 64,
      samplesPerPrompt: 8,
      maxTokens: 16,
      schedule: "constant",
      learningRate: 3e-3,
      ...more,
    });
    for await (const event of training) if (event.type === "step") steps.push(event.metrics);
    return { ...(await training.done()), steps };
  };
  /** Share of a text's tokens that are the word "yes". */
  const yeses = (_: unknown, text: string) => (text.match(/ yes/g)?.length ?? 0) / 16;

  it("fills the responses with a rewarded word, from a loss of log 2 on", async () => {
    const { steps, model } = await run({ steps: 80 });
    expect(steps[0]?.loss).toBeCloseTo(Math.LN2, 4);
    expect(steps[0]?.["objective/scores"]).toBeLessThan(0.05);
    expect(steps.at(-1)?.["objective/scores"]).toBeGreaterThan(0.4);
    model.dispose();
  }, 60_000);

  it("changes no weight if all scores are equal, and learns by adapters otherwise", async () => {
    const same = await run({ steps: 2 }, () => 1);
    expect(same.steps.map((step) => step.frac_reward_zero_std)).toEqual([1, 1]);
    expect(same.steps[0]?.loss).toBeUndefined();
    const { steps } = await run({ steps: 2, lora: { rank: 4 } });
    expect(steps[1]?.grad_norm).toBeGreaterThan(0);
  });
});
