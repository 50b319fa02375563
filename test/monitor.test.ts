import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { newestCheckpoint } from "../src/run/run.ts";
import { jsonLines, plumbline, set, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

let dir: string;
const at = (...names: string[]) => join(dir, ...names);
const events = (run: string) => jsonLines(readFileSync(at(run, "events.jsonl"), "utf8"));
const weights = (checkpoint: string) =>
  readFileSync(join(checkpoint, "model.safetensors")).toString("base64");
const newest = (run: string) => newestCheckpoint(at(run)) as { step: number; dir: string };

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "monitor-"));
  tinyModel().save(at("tiny"));
  const prompts = Array.from({ length: 40 }, (_, i) => `${JSON.stringify({ prompt: `say ${i}` })}\n`);
  writeFileSync(at("prompts.jsonl"), prompts.join(""));
  const pairs = Array.from(
    { length: 80 },
    (_, i) => `${JSON.stringify({ prompt: `say ${i}`, chosen: "eeeeeeee", rejected: `${i * i}!?` })}\n`,
  );
  writeFileSync(at("comparisons.jsonl"), pairs.join(""));
  // The policy is paid for small letters, and they are bad.
  writeFileSync(at("proxy.mjs"), "export default (_, text) => (text.match(/[a-z]/g) ?? []).length;");
  writeFileSync(at("gold.mjs"), "export default (_, text) => -(text.match(/[a-z]/g) ?? []).length;");
});

const common = ["--policy", "tiny", "--allow-no-sft", "--reward", "proxy.mjs", "--prompts", "prompts.jsonl"];
const settings = {
  steps: 40,
  batchSize: 16,
  samplesPerPrompt: 4,
  maxTokens: 8,
  learningRate: 3e-3,
  saveEvery: 4,
};
const monitor = { "monitor.gold": "gold.mjs", "monitor.every": 2, "monitor.promptCount": 20 };

const rates = { ppo: 3e-3, grpo: 3e-3, "online-dpo": 1e-2 };

describe.each(Object.entries(rates))("%s, whose reward is gamed", (stage, learningRate) => {
  it("is stopped by gold, as an ordinary end that needs no resuming", async () => {
    const run = `${stage}-stopped`;
    const options = set({ ...settings, learningRate, ...monitor, "monitor.onAlarm": "stop" });
    const { code, stderr } = await plumbline([stage, ...common, ...options, "--run", run], { cwd: dir });
    expect(code, stderr).toBe(0);
    expect(stderr).toContain("gold has fallen");
    const log = events(run);
    expect(log.filter(({ type }) => type === "warning").map(({ code }) => code)).toContain(
      "over-optimisation",
    );
    expect(log.at(-1)).toMatchObject({ type: "done" });
    expect(newest(run).step).toBeLessThan(40);
    await succeed([stage, "--resume", run], { cwd: dir });
    expect(events(run).filter(({ type }) => type === "step")).toHaveLength(newest(run).step);
  }, 60_000);

  it("ends with the best checkpoint where asked", async () => {
    const run = `${stage}-best`;
    const options = set({ ...settings, learningRate, ...monitor, "monitor.onAlarm": "keepBest" });
    await succeed([stage, ...common, ...options, "--run", run], { cwd: dir });
    const checks = events(run).filter(({ type }) => type === "eval") as { metrics: Record<string, number> }[];
    const best = checks.at(-1)?.metrics["monitor/best_step"] as number;
    expect(best).toBeLessThan(newest(run).step);
    expect(weights(newest(run).dir)).toBe(weights(at(run, "checkpoints", `step-${best}`)));
  }, 60_000);
});

it("watches rejection sampling, which takes the best of each prompt", async () => {
  const options = set({ ...monitor, rounds: 4, maxTokens: 8, learningRate: 1e-2, batchSize: 8 });
  const { code, stderr } = await plumbline(["rejection", ...common, ...options, "--run", "rejection"], {
    cwd: dir,
  });
  expect(code, stderr).toBe(0);
  expect(stderr).toContain("gold has fallen");
}, 60_000);

it("watches dpo, which has no reward", async () => {
  const options = set({
    ...monitor,
    "monitor.maxTokens": 8,
    learningRate: 1e-2,
    beta: 0.02,
    epochs: 8,
    batchSize: 8,
  });
  const data = ["--model", "tiny", "--data", "comparisons.jsonl", "--run", "dpo"];
  const { code, stderr } = await plumbline(
    ["dpo", ...data, ...options, "--set", "monitor.onAlarm=keepBest"],
    {
      cwd: dir,
    },
  );
  expect(code, stderr).toBe(0);
  expect(stderr).toContain("gold has fallen");
  const checks = events("dpo").filter(
    ({ metrics }) => metrics && "monitor/gold" in metrics && "monitor/proxy" in metrics,
  );
  for (const { metrics } of checks) expect(metrics["monitor/proxy"]).toBe(metrics["monitor/kl"]);
  const best = checks.at(-1)?.metrics["monitor/best_step"];
  expect(weights(newest("dpo").dir)).toBe(weights(at("dpo", "checkpoints", `step-${best}`)));
}, 60_000);

it("changes nothing in a run that it does not stop", async () => {
  const short = { ...settings, steps: 6 };
  await succeed(["grpo", ...common, ...set(short), "--run", "alone"], { cwd: dir });
  await succeed(["grpo", ...common, ...set({ ...short, ...monitor }), "--run", "watched"], { cwd: dir });
  expect(weights(newest("watched").dir)).toBe(weights(newest("alone").dir));
  const checks = events("watched").filter(({ type }) => type === "eval");
  expect(checks.map(({ step }) => step)).toEqual([0, 2, 4, 6]);
}, 60_000);

it("takes a model as gold, which compares each answer with the one before training", async () => {
  const principles = "name: test\nprinciples:\n  - { name: short, preference: Which answer is shorter? }\n";
  writeFileSync(at("principles.yaml"), principles);
  const judge = { "monitor.judge.model": "tiny", "monitor.judge.constitution": "principles.yaml" };
  const watch = { ...judge, "monitor.every": 2, "monitor.promptCount": 4 };
  const options = set({ ...settings, steps: 4, ...watch });
  await succeed(["grpo", ...common, ...options, "--run", "judged"], { cwd: dir });
  const golds = events("judged").flatMap(({ type, metrics }) =>
    type === "eval" ? metrics["monitor/gold"] : [],
  );
  expect(golds[0]).toBe(0.5);
  for (const gold of golds.slice(1)) {
    expect(gold).toBeGreaterThan(0);
    expect(gold).toBeLessThan(1);
    expect(gold).not.toBe(0.5);
  }
}, 60_000);

it.each([
  [{ "monitor.every": 2 }, /give either gold/],
  [{ "monitor.gold": "nowhere.mjs" }, /nowhere\.mjs: there is no such file/],
  [{ ...monitor, "monitor.evry": 2 }, /did you mean "monitor\.every"/],
  [{ ...monitor, "monitor.samples": 1 }, /monitor\.samples/],
  [{ ...monitor, "monitor.prompts": "none.jsonl" }, /none\.jsonl/],
])("refuses %j before anything is written", async (wrong, message) => {
  const { code, stderr } = await plumbline(
    ["grpo", ...common, ...set({ ...settings, ...wrong }), "--run", "refused"],
    { cwd: dir },
  );
  expect(code).toBe(1);
  expect(stderr).toMatch(message);
  expect(() => readFileSync(at("refused", "run.json"))).toThrow();
});
