import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { newestCheckpoint } from "../src/run/run.ts";
import { jsonLines, plumbline, set, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

let dir: string;
const at = (...names: string[]) => join(dir, ...names);
const lines = (name: string) => jsonLines(readFileSync(at(name), "utf8"));

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "ensemble-"));
  tinyModel().save(at("tiny"));
  const write = (name: string, row: (i: number) => unknown) =>
    writeFileSync(at(name), Array.from({ length: 60 }, (_, i) => `${JSON.stringify(row(i))}\n`).join(""));
  write("comparisons.jsonl", (i) => ({ prompt: `say ${i}`, chosen: "yes yes yes", rejected: `no ${i}` }));
  write("prompts.jsonl", (i) => ({ prompt: `say ${i}` }));
  const settings = { members: 3, combine: "worst", learningRate: 3e-3, epochs: 4 };
  await succeed(
    [
      ...["reward", "--model", "tiny", "--data", "comparisons.jsonl", "--run", "judges"],
      ...set({ ...settings, batchSize: 8, normaliseSamples: 16, sampleTokens: 8, "lora.rank": 4 }),
    ],
    { cwd: dir },
  );
}, 60_000);

it("learns, each member by itself, and measures them together", () => {
  const events = lines("judges/events.jsonl");
  const { metrics } = events.filter(({ type }) => type === "eval").at(-1) as {
    metrics: Record<string, number>;
  };
  expect(metrics.eval_accuracy).toBe(1);
  expect(metrics.eval_member_accuracy).toBe(1);
  const { metrics: last } = events.at(-1) as { metrics: Record<string, number> };
  expect(last["normalisation/disagreement"]).toBeGreaterThan(0);
});

it("scores with every command that takes a reward model, and says how far the members disagree", async () => {
  await succeed(["score", "--model", "judges", "--data", "comparisons.jsonl", "--out", "scores.jsonl"], {
    cwd: dir,
  });
  for (const { scores, disagreements } of lines("scores.jsonl") as {
    scores: number[];
    disagreements: number[];
  }[]) {
    expect(scores[0]).toBeGreaterThan(scores[1] as number);
    expect(disagreements.every((value) => value > 0)).toBe(true);
  }
  const stdout = await succeed(["eval", "--reward", "judges", "--data", "comparisons.jsonl", "--json"], {
    cwd: dir,
  });
  expect(JSON.parse(stdout).overall.value).toBe(1);
  const sampled = ["--policy", "tiny", "--allow-no-sft", "--reward", "judges", "--prompts", "prompts.jsonl"];
  const short = set({ steps: 2, batchSize: 8, samplesPerPrompt: 4, maxTokens: 8 });
  for (const stage of ["ppo", "grpo", "online-dpo"]) {
    await succeed([stage, ...sampled, ...short, "--run", stage], { cwd: dir });
    const steps = lines(`${stage}/events.jsonl`).filter(({ type }) => type === "step");
    for (const { metrics } of steps as { metrics: Record<string, number> }[])
      expect(metrics["rewards/disagreement"]).toBeGreaterThan(0);
    const [sample] = lines(`${stage}/samples.jsonl`);
    expect(sample?.disagreement).toBeGreaterThan(0);
  }
}, 60_000);

it("is not needed to see what a reward model does not know: a single one measures the distance from its data", async () => {
  await succeed(
    [
      ...["reward", "--model", "tiny", "--data", "comparisons.jsonl", "--run", "judge"],
      ...set({ learningRate: 3e-3, batchSize: 8, normaliseSamples: 16, sampleTokens: 8 }),
    ],
    { cwd: dir },
  );
  const sampled = ["--policy", "tiny", "--allow-no-sft", "--reward", "judge", "--prompts", "prompts.jsonl"];
  const short = set({ steps: 1, batchSize: 8, samplesPerPrompt: 4, maxTokens: 8 });
  await succeed(["grpo", ...sampled, ...short, "--run", "far"], { cwd: dir });
  // Random bytes are farther away than held-out answers, which are "yes yes yes" and "no 17".
  expect(lines("far/samples.jsonl")[0]?.distance).toBeGreaterThan(0);
  const step = lines("far/events.jsonl").find(({ type }) => type === "step");
  expect(step?.metrics["rewards/distance"]).toBeGreaterThan(0.5);
}, 60_000);

it("becomes one model by the average of the members' weights", async () => {
  await succeed(["model", "average", "judges", "--out", "averaged"], { cwd: dir });
  await succeed(["score", "--model", "averaged", "--data", "comparisons.jsonl", "--out", "one.jsonl"], {
    cwd: dir,
  });
  for (const { scores } of lines("one.jsonl") as { scores: number[] }[])
    expect(scores[0]).toBeGreaterThan(scores[1] as number);
  const again = await plumbline(["model", "average", "judges", "--out", "averaged"], { cwd: dir });
  expect(again.stderr).toMatch(/averaged: exists already/);
  const none = await plumbline(["model", "average", "tiny", "--out", "other"], { cwd: dir });
  expect(none.stderr).toMatch(/tiny: no ensemble/);
  expect(existsSync(at("other"))).toBe(false);
});

it("refuses members of different vocabularies, before anything is written", async () => {
  tinyModel(0, { vocab_size: 300 }).withScoreHead({ std: 1 }).save(at("stranger"));
  const member = newestCheckpoint(at("judges"))?.dir as string;
  writeFileSync(at("ensemble.json"), JSON.stringify({ members: [join(member, "members/1"), "stranger"] }));
  const { code, stderr } = await plumbline(
    ["score", "--model", ".", "--data", "comparisons.jsonl", "--out", "none.jsonl"],
    { cwd: dir },
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(/vocabulary of member 2 \(300 tokens\)/);
  expect(existsSync(at("none.jsonl"))).toBe(false);
});
