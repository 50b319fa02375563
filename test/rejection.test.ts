import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { responseKl } from "../src/eval/evaluate.ts";
import type { Model } from "../src/models/model.ts";
import { modelSampler } from "../src/rollout/generate.ts";
import type { Event, Metrics } from "../src/run/events.ts";
import { type RejectionOptions, rejection } from "../src/stages/rejection/train.ts";
import { mean } from "../src/statistics/numbers.ts";
import { memory } from "../src/tensor/index.ts";
import { jsonLines, plumbline, set, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

const prompts = ["go", "stop", "wait", "run", "sit", "eat", "read", "sing"].map((content) => ({
  prompt: [{ role: "user" as const, content }],
}));
/** Share of a text's tokens that are the word "yes". */
const yeses = (_: unknown, text: string) => (text.match(/ yes/g)?.length ?? 0) / 16;
const sampling = { maxTokens: 16, samplesPerPrompt: 16, rolloutBatchSize: 64 };

async function train(settings: Partial<RejectionOptions> = {}) {
  const events: Event[] = [];
  const training = rejection({
    policy: settings.policy ?? tinyModel(),
    reward: yeses,
    prompts,
    allowNoSft: true,
    ...sampling,
    batchSize: 4,
    learningRate: 1e-2,
    schedule: "constant",
    ...settings,
  });
  for await (const event of training) events.push(event);
  const steps = events.flatMap((event) => (event.type === "step" ? [event.metrics] : []));
  return { ...(await training.done()), steps, events };
}

/** Mean score of fresh samples of a model. */
async function scoreOf(model: Model): Promise<number> {
  const samples = await modelSampler(model).sample(
    prompts.map(({ prompt }) => prompt),
    { maxTokens: 16, samples: 16, seed: 1 },
  );
  return mean(samples.map(({ text }) => yeses(undefined, text)));
}

describe("rejection sampling on a tiny model", () => {
  it("fills the responses with a rewarded word, round by round", async () => {
    const start = tinyModel();
    const { model, steps } = await train({ policy: start, rounds: 8, epochs: 4 });
    // One token in 261 is the word at first. Five seeds end between 0.47 and 0.97; of equal scores, below, at 0.007 at most.
    expect(await scoreOf(start)).toBeLessThan(0.05);
    expect(await scoreOf(model)).toBeGreaterThan(0.25);
    const rounds = [1, 2, 3, 4, 5, 6, 7, 8].map((round) => steps.findLast((step) => step.round === round));
    for (const metrics of rounds as Metrics[])
      expect(metrics["kept/scores"]).toBeGreaterThanOrEqual(metrics["objective/scores"] as number);
    expect(rounds[7]?.["objective/scores"]).toBeGreaterThan(rounds[0]?.["objective/scores"] as number);
  });

  it("learns nothing from chance: of equal scores no word becomes frequent", async () => {
    const { model } = await train({ reward: () => 1, rounds: 8, epochs: 4 });
    expect(await scoreOf(model)).toBeLessThan(0.05);
  });

  it("counts what a round samples and keeps", async () => {
    const best = await train({});
    // 8 prompts × 16 responses, 64 decoded together: two steps that sample, two that learn.
    expect(best.steps).toHaveLength(4);
    expect(best.steps.at(-1)).toMatchObject({
      round: 1,
      "kept/share": 1 / 16,
      "kept/prompts": 1,
      episode: 128,
    });
    const length = (_: unknown, text: string) => text.length;
    const above = await train({ reward: length, keep: "above", bar: 10, logSamples: 1000 });
    const kept = above.events.flatMap((event) => (event.type === "sample" ? [event] : []));
    expect(kept.length).toBeGreaterThan(0);
    for (const { score, response } of kept) {
      expect(score).toBe(response.length);
      expect(score).toBeGreaterThanOrEqual(10);
    }
    expect(above.steps.at(-1)?.["kept/share"]).toBeCloseTo(kept.length / 128, 10);
    expect(above.steps.at(-1)?.["kept/scores"]).toBeCloseTo(
      mean(kept.map(({ score }) => score as number)),
      10,
    );
  });

  it("measures the KL to the start on each round's samples", async () => {
    const start = tinyModel();
    const { model, steps } = await train({ policy: start, rounds: 2, epochs: 2, learningRate: 3e-3 });
    expect(steps[0]?.["objective/kl"]).toBe(0);
    // Of the policy of the first round, which a run of one round makes.
    const first = await train({ policy: start, rounds: 1, epochs: 2, learningRate: 3e-3 });
    const samples = await modelSampler(first.model).sample(
      prompts.map(({ prompt }) => prompt),
      { maxTokens: 16, samples: 64, seed: 2 },
    );
    const kls = responseKl(first.model, start, samples);
    const error = Math.sqrt(mean(kls.map((kl) => (kl - mean(kls)) ** 2)));
    const second = steps.filter(({ round, "objective/kl": kl }) => round === 2 && kl !== undefined);
    // Means over 128 and 512 samples: five standard errors apart at most.
    expect(Math.abs((second[1]?.["objective/kl"] as number) - mean(kls))).toBeLessThan(
      5 * error * Math.sqrt(1 / 64 + 1 / 512),
    );
    model.dispose();
  });

  it("computes the same with any microBatchTokens", async () => {
    const norms = async (microBatchTokens: number) =>
      (await train({ rounds: 2, microBatchTokens })).steps.flatMap(({ grad_norm }) => grad_norm ?? []);
    const [some, all] = [await norms(40), await norms(100_000)];
    expect(some.length).toBeGreaterThanOrEqual(4);
    // float32 in another order; sampling follows the weights, and would part if they did.
    some.forEach((norm, i) => expect(norm).toBeCloseTo(all[i] as number, 3));
  });

  it("says what the scores were if none reaches the bar, and which settings do not go together", async () => {
    await expect(train({ keep: "above", bar: 2 })).rejects.toThrow(
      /no response of round 1 has a score of 2 or more: 128 scores from 0 to 0\.\d+, mean 0\.\d+/,
    );
    await expect(train({ keep: "above" })).rejects.toThrow(/set bar/);
    await expect(train({ bar: 1 })).rejects.toThrow(/bar is used with keep=above/);
    await expect(train({ samplesPerPrompt: 1 })).rejects.toThrow(/samplesPerPrompt must be 2 or more/);
  });

  it("leaves no tensor behind", async () => {
    const policy = tinyModel();
    const before = memory().handles;
    for (const more of [{}, { rounds: 2 }, { lora: {}, rounds: 2 }]) {
      const { model } = await train({ policy, ...more });
      model.dispose();
      expect(memory().handles).toBe(before);
    }
    await expect(train({ policy, keep: "above", bar: 2 })).rejects.toThrow();
    expect(memory().handles).toBe(before);
  });
});

describe("plumbline rejection", () => {
  let dir: string;
  const at = (...names: string[]) => join(dir, ...names);
  beforeAll(() => {
    dir = mkdtempSync(join(tmpdir(), "rejection-"));
    const model = tinyModel();
    model.save(at("tiny"));
    model.dispose();
    writeFileSync(
      at("prompts.jsonl"),
      prompts.map(({ prompt }) => `${JSON.stringify({ prompt: prompt[0]?.content })}\n`).join(""),
    );
    writeFileSync(
      at("yes.mjs"),
      "export default (prompt, text) => (text.match(/ yes/g)?.length ?? 0) / 16;\n",
    );
    writeFileSync(
      at("rejection.yaml"),
      "policy: tiny\nreward: yes.mjs\nprompts: prompts.jsonl\nallowNoSft: true\nrounds: 2\n",
    );
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const settings = set({ ...sampling, batchSize: 4, learningRate: 1e-2, epochs: 2 });

  it("learns by a recipe, logs what it learned from, and makes a model that answers", async () => {
    const events = jsonLines(
      await succeed(["rejection", "rejection.yaml", ...settings, "--run", "run", "--json"], { cwd: dir }),
    );
    expect(events.at(-1)).toMatchObject({ type: "done", step: 12 });
    expect(events.some(({ type, response }) => type === "sample" && / yes/.test(response))).toBe(true);
    const { parents } = JSON.parse(readFileSync(at("run/run.json"), "utf8"));
    expect(parents).toEqual(["tiny", "yes.mjs"]);
    expect(await succeed(["generate", "--model", "run", "--prompt", "go"], { cwd: dir })).not.toBe("");
    await succeed(["report", "run"], { cwd: dir });
    expect(readFileSync(at("run/report.html"), "utf8")).toMatch(/KL to the start/);
  });

  it("estimates without a run directory", async () => {
    const estimate = await succeed(
      ["rejection", "rejection.yaml", ...settings, "--run", "estimated", "--estimate", "--json"],
      { cwd: dir },
    );
    expect(JSON.parse(estimate)).toMatchObject({ steps: 12 });
    expect(existsSync(at("estimated"))).toBe(false);
  });

  it("ends with one message if no response reaches the bar", async () => {
    const { code, stderr } = await plumbline(
      ["rejection", "rejection.yaml", ...settings, ...set({ keep: "above", bar: 3 }), "--run", "high"],
      { cwd: dir },
    );
    expect(code).toBe(1);
    expect(stderr.trim().split("\n").at(-1)).toMatch(
      /^error: rejection: no response of round 1 .* Lower bar/,
    );
  });
});
