import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { interruptAtFirstStep, jsonLines, plumbline, set, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

let dir: string;
const at = (...names: string[]) => join(dir, ...names);

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "kill-"));
  const model = tinyModel();
  model.save(at("tiny"));
  model.withScoreHead({ std: 0.5 }).save(at("judge"));
  const rows = Array.from({ length: 40 }, (_, i) => ({
    prompt: `say ${i}`,
    chosen: `it is ${i}`,
    rejected: `no ${i * i}`,
  }));
  const write = (name: string, of: (row: (typeof rows)[number]) => unknown) =>
    writeFileSync(at(name), rows.map((row) => `${JSON.stringify(of(row))}\n`).join(""));
  write("demonstrations.jsonl", ({ prompt, chosen }) => ({ prompt, completion: chosen }));
  write("comparisons.jsonl", (row) => row);
  write("prompts.jsonl", ({ prompt }) => ({ prompt }));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** So many steps that ten kills happen within the run, with a checkpoint at each step so that many happen during a write. */
const stages: Record<string, string[]> = {
  sft: [
    "sft",
    "--model",
    "tiny",
    "--data",
    "demonstrations.jsonl",
    ...set({ epochs: 30, batchSize: 4, saveEvery: 1, evalEvery: 7 }),
  ],
  reward: [
    "reward",
    "--model",
    "tiny",
    "--data",
    "comparisons.jsonl",
    ...set({ epochs: 30, batchSize: 4, saveEvery: 1, evalEvery: 7, normaliseSamples: 8, sampleTokens: 8 }),
  ],
  dpo: [
    "dpo",
    "--model",
    "tiny",
    "--data",
    "comparisons.jsonl",
    ...set({ epochs: 30, batchSize: 4, saveEvery: 1, evalEvery: 7 }),
  ],
  ppo: [
    "ppo",
    "--policy",
    "tiny",
    "--allow-no-sft",
    "--reward",
    "judge",
    "--prompts",
    "prompts.jsonl",
    ...set({ steps: 150, batchSize: 8, miniBatchSize: 4, maxTokens: 8, saveEvery: 1 }),
  ],
};

const sampled = ["--policy", "tiny", "--allow-no-sft", "--reward", "judge", "--prompts", "prompts.jsonl"];
const short = set({ steps: 150, batchSize: 8, samplesPerPrompt: 4, maxTokens: 8, saveEvery: 1 });
stages.grpo = ["grpo", ...sampled, ...short];
stages["online-dpo"] = ["online-dpo", ...sampled, ...short];
stages.rejection = [
  "rejection",
  ...sampled,
  // 15 rounds of 6 steps that sample and 5 that learn.
  ...set({ rounds: 15, promptsPerRound: 18, samplesPerPrompt: 4, rolloutBatchSize: 12, batchSize: 4 }),
  ...set({ maxTokens: 8, saveEvery: 1 }),
];

stages["grpo with a monitor"] = [
  ...(stages.grpo as string[]),
  ...set({
    "monitor.gold": "judge",
    "monitor.every": 3,
    "monitor.promptCount": 4,
    "monitor.onAlarm": "keepBest",
  }),
];

const adapters = set({ "lora.rank": 4 });
stages["reward with adapters"] = [...(stages.reward as string[]), ...adapters];
stages["an ensemble of rewards"] = [...(stages.reward as string[]), ...set({ members: 2 })];
stages["ppo with adapters and a shared critic"] = [
  ...(stages.ppo as string[]),
  ...adapters,
  ...set({ critic: "shared" }),
];

/** Reads all weight files of a run's last checkpoint. */
function weights(run: string): Record<string, string> {
  const checkpoints = readdirSync(at(run, "checkpoints")).filter((name) => name.startsWith("step-"));
  const last = checkpoints.sort((a, b) => Number(a.slice(5)) - Number(b.slice(5))).at(-1) as string;
  const files = readdirSync(at(run, "checkpoints", last), { recursive: true, encoding: "utf8" });
  return Object.fromEntries(
    files
      .filter((name) => name.endsWith(".safetensors"))
      .map((name) => [name, readFileSync(at(run, "checkpoints", last, name)).toString("base64")]),
  );
}

describe("a run that is killed ten times", () => {
  it.each(Object.entries(stages))(
    "%s ends with the weights of one that was not",
    async (stage, args) => {
      await succeed([...args, "--run", `${stage}-whole`], { cwd: dir });
      const run = ["--run", `${stage}-killed`];
      const delays: number[] = [];
      const when = () => `killed after ${delays.join(", ")} ms`;
      const expectWhole = () => expect(weights(`${stage}-killed`), when()).toEqual(weights(`${stage}-whole`));
      let kills = 0;
      // Start-up takes half of the time. A kill during start-up is tested too.
      while (kills < 10) {
        const delay = 700 + Math.random() * 900;
        const exists = existsSync(at(`${stage}-killed`, "run.json"));
        const { signal, code, stderr } = await plumbline([...args, ...run, ...(exists ? ["--resume"] : [])], {
          cwd: dir,
          during: async (child) => {
            await setTimeout(delay);
            child.kill("SIGKILL");
          },
        });
        if (signal === "SIGKILL") {
          kills++;
          delays.push(Math.round(delay));
          continue;
        }
        // The run ended before the kill: the next kills go to a new run.
        expect(code, `${when()}: ${stderr}`).toBe(0);
        expectWhole();
        rmSync(at(`${stage}-killed`), { recursive: true });
      }
      const exists = existsSync(at(`${stage}-killed`, "run.json"));
      await succeed([...args, ...run, ...(exists ? ["--resume"] : [])], { cwd: dir });
      expectWhole();

      // Every step is in the log exactly once.
      const steps = jsonLines(readFileSync(at(`${stage}-killed`, "events.jsonl"), "utf8")).filter(
        ({ type }) => type === "step",
      );
      expect(steps.map(({ step }) => step)).toEqual(steps.map((_, i) => i + 1));
    },
    300_000,
  );

  it("Ctrl-C saves, says how to go on, and exits with 130", async () => {
    const run = ["--run", "interrupted"];
    const outcome = await plumbline([...(stages.ppo as string[]), ...run], {
      cwd: dir,
      during: interruptAtFirstStep,
    });
    expect(outcome.code).toBe(130);
    expect(outcome.stderr).toMatch(/interrupted after step \d+; to go on: --resume /);
    await succeed([...(stages.ppo as string[]), ...run, "--resume"], { cwd: dir });
  }, 60_000);

  it("two processes on one run: the second is refused, the first goes on", async () => {
    const run = [...(stages.sft as string[]), "--run", "shared"];
    let writes: Promise<unknown> | undefined;
    const first = succeed(run, {
      cwd: dir,
      during: ({ stderr }) => {
        writes = once(stderr as NodeJS.ReadableStream, "data");
      },
    });
    await writes;
    const second = await plumbline([...run, "--resume"], { cwd: dir });
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/process \d+ is writing this run/);
    await first;
  }, 60_000);
});
