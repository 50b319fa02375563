import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { nextTask, submitJudgement } from "../src/labels/labeling.ts";
import { LabelStore } from "../src/labels/store.ts";
import { parseLoop } from "../src/loop/config.ts";
import { runLoop } from "../src/loop/loop.ts";
import { newestCheckpoint } from "../src/run/run.ts";
import { memory } from "../src/tensor/index.ts";
import { jsonLines, plumbline, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

let dir: string;
const at = (...names: string[]) => join(dir, ...names);

/** Settings that make a round short. */
const recipe = {
  policy: "tiny",
  prompts: "prompts.jsonl",
  rounds: 2,
  stop: "never",
  allowNoSft: true,
  sampling: { promptsPerRound: 8, samplesPerPrompt: 3, maxTokens: 8 },
  labelers: { simulated: { reward: "length.mjs", noise: 1 } },
  reward: { batchSize: 4, heldOut: 0.3, normaliseSamples: 8, sampleTokens: 8, learningRate: 1e-3 },
  ppo: { steps: 2, batchSize: 8, miniBatchSize: 4, ppoEpochs: 1, saveEvery: 1, learningRate: 1e-3 },
  evaluation: { heldOut: 0.3 },
};
type Recipe = Record<string, unknown>;

/** Writes a recipe. YAML is a superset of JSON. */
const writeRecipe = (name: string, changes: Recipe = {}) =>
  writeFileSync(at(name), JSON.stringify({ ...recipe, ...changes }));

const loop = (name: string, run: string, ...more: string[]) => [
  "loop",
  name,
  "--run",
  run,
  "--json",
  ...more,
];
const report = (stdout: string) => JSON.parse(stdout.trim().split("\n").at(-1) as string);

/** Hashes the weights of a run's last checkpoint. */
function weights(...run: string[]): string {
  const { dir: checkpoint } = newestCheckpoint(at(...run)) as { dir: string };
  return createHash("sha256")
    .update(readFileSync(join(checkpoint, "model.safetensors")))
    .digest("hex");
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "loop-"));
  const model = tinyModel();
  model.save(at("tiny"));
  model.dispose();
  const rows = Array.from({ length: 24 }, (_, i) => `${JSON.stringify({ prompt: `say ${i}` })}\n`);
  writeFileSync(at("prompts.jsonl"), rows.join(""));
  writeFileSync(at("length.mjs"), "export default (prompt, text) => text.length;\n");
  writeRecipe("loop.yaml");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe("plumbline loop with simulated labelers", () => {
  it("takes two rounds, of ordinary runs with their parents", async () => {
    const { state, policy, rounds } = report(await succeed(loop("loop.yaml", "two"), { cwd: dir }));
    expect([state, policy]).toEqual(["done", "two/round-2/policy"]);
    expect(rounds).toHaveLength(2);
    expect(rounds[0].comparisons).toBe(8);
    expect(rounds[0].prediction).toBeUndefined();
    for (const name of ["prediction", "rewardAccuracy", "winRate"]) {
      expect(rounds[1][name].value).toBeGreaterThanOrEqual(0);
      expect(rounds[1][name].value).toBeLessThanOrEqual(1);
    }
    expect(rounds[1].kl.value).toBeGreaterThan(0);
    const parents = (run: string) => JSON.parse(readFileSync(at("two", run, "run.json"), "utf8")).parents;
    expect(parents("round-1/policy")).toEqual(["tiny", "two/round-1/reward"]);
    expect(parents("round-2/policy")).toEqual(["two/round-1/policy", "two/round-2/reward"]);
    // The second reward model learns from both rounds.
    const lines = (name: string) => readFileSync(at("two", name), "utf8").trim().split("\n");
    expect(lines("round-2/training.jsonl")).toEqual([
      ...lines("round-1/comparisons.jsonl"),
      ...lines("round-2/comparisons.jsonl"),
    ]);
    const table = await succeed(["loop", "loop.yaml", "--run", "two"], { cwd: dir });
    expect(table).toMatch(/round +comparisons +predicted by the last +reward model +wins/);
    expect(table).toMatch(/all rounds are done\. The policy of the loop is two\/round-2\/policy/);
    expect((await succeed(["runs", "two", "--json"], { cwd: dir })).trim().split("\n")).toHaveLength(4);
  }, 120_000);

  it("as a library takes the same steps, and leaves no tensor behind", async () => {
    const inputs = { policy: at("tiny"), prompts: at("prompts.jsonl") };
    const labelers = { simulated: { ...recipe.labelers.simulated, reward: at("length.mjs") } };
    const before = memory().handles;
    const { rounds } = await runLoop(parseLoop({ ...recipe, ...inputs, labelers }), { run: at("library") });
    expect(memory().handles).toBe(before);
    expect(rounds.map(({ comparisons }) => comparisons)).toEqual([8, 8]);
    expect(weights("library", "round-2", "policy")).toBe(weights("two", "round-2", "policy"));
  }, 60_000);

  it("killed again and again, ends with the same bits", async () => {
    for (let kills = 0; kills < 10; kills++)
      await plumbline(loop("loop.yaml", "killed"), {
        cwd: dir,
        // Somewhere in the step that it goes on with, or in those after it.
        during: (child) => {
          child.stderr?.once(
            "data",
            () => void setTimeout(Math.random() * 600).then(() => child.kill("SIGKILL")),
          );
        },
      });
    const resumed = report(await succeed(loop("loop.yaml", "killed"), { cwd: dir }));
    const whole = report(await succeed(loop("loop.yaml", "two"), { cwd: dir }));
    expect(resumed.rounds).toEqual(whole.rounds);
    for (const run of ["round-1/reward", "round-1/policy", "round-2/reward", "round-2/policy"])
      expect(weights("killed", run), run).toBe(weights("two", run));
  }, 300_000);

  it("stops on Ctrl-C, says how to go on, and goes on", async () => {
    const outcome = await plumbline(loop("loop.yaml", "stopped"), {
      cwd: dir,
      during: (child) => {
        child.stderr?.on("data", (text: string) => {
          if (/round 1: ppo/.test(text)) child.kill("SIGINT");
        });
      },
    });
    expect(outcome.code, outcome.stderr).toBe(130);
    expect(outcome.stderr).toMatch(/interrupted in round 1; to go on, run the same command again/);
    await succeed(loop("loop.yaml", "stopped"), { cwd: dir });
    expect(weights("stopped", "round-2/policy")).toBe(weights("two", "round-2/policy"));
  }, 120_000);

  it("by GRPO, and stops after a round that is no better", async () => {
    // No reward tells these answers apart, so no policy can be better.
    writeFileSync(at("same.mjs"), "export default () => 1;\n");
    writeRecipe("grpo.yaml", {
      ppo: undefined,
      grpo: { steps: 1, batchSize: 8, samplesPerPrompt: 4 },
      stop: "unlessBetter",
      evaluation: { heldOut: 0.3, reward: "same.mjs" },
    });
    const { reason, policy, rounds } = report(await succeed(loop("grpo.yaml", "grpo"), { cwd: dir }));
    expect(rounds).toHaveLength(1);
    expect(rounds[0]).toMatchObject({ accepted: false, winRate: { value: 0.5 } });
    expect([reason, policy]).toEqual(["the last round's policy is not shown to be better", "tiny"]);
  }, 60_000);

  it("a recipe that fails before the first step is done can be mended", async () => {
    writeRecipe("mended.yaml", { policy: "nowhere", rounds: 1 });
    expect((await plumbline(loop("mended.yaml", "mended"), { cwd: dir })).code).toBe(1);
    writeRecipe("mended.yaml", { rounds: 1 });
    expect(report(await succeed(loop("mended.yaml", "mended"), { cwd: dir })).state).toBe("done");
  }, 60_000);

  it("goes on for more rounds, with other settings of PPO", async () => {
    writeRecipe("more.yaml", { rounds: 1 });
    await succeed(loop("more.yaml", "more"), { cwd: dir });
    writeRecipe("more.yaml", { ppo: { ...recipe.ppo, steps: 1 } });
    expect(report(await succeed(loop("more.yaml", "more"), { cwd: dir })).rounds).toHaveLength(2);
    expect(newestCheckpoint(at("more", "round-2", "policy"))?.step).toBe(1);
  }, 60_000);

  it.each([
    ["a recipe that changed", { seed: 5 }, "two", /this loop began with another seed/],
    ["too few held-out prompts", { evaluation: { heldOut: 0.05 } }, "few", /1 held-out prompts/],
    ["an unknown key", { evaluations: {} }, "unknown", /did you mean "evaluation"/],
    ["a directory of something else", {}, "tiny", /tiny: the directory is not empty and has no loop/],
  ])("refuses %s in one message", async (_, changes, run, message) => {
    writeRecipe("wrong.yaml", changes);
    const { code, stderr } = await plumbline(loop("wrong.yaml", run), { cwd: dir });
    expect(code).toBe(1);
    expect(stderr).toMatch(message);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(existsSync(at(run, "lock"))).toBe(false);
  });
});

it("plumbline loop with a model as labeler learns from its soft labels, and is judged by it", async () => {
  const judge = tinyModel(1, { max_position_embeddings: 2048 });
  judge.save(at("ai"));
  judge.dispose();
  const principle = { name: "short", preference: "Which answer is shorter?" };
  writeFileSync(at("principles.yaml"), JSON.stringify({ name: "test", principles: [principle] }));
  writeRecipe("ai.yaml", { rounds: 1, labelers: { ai: { model: "ai", constitution: "principles.yaml" } } });
  const { state, rounds } = report(await succeed(loop("ai.yaml", "by-ai"), { cwd: dir }));
  expect(state).toBe("done");
  // All pairs of three answers to each of eight prompts.
  expect(rounds[0].comparisons).toBe(24);
  const comparisons = jsonLines(readFileSync(at("by-ai/round-1/comparisons.jsonl"), "utf8"));
  for (const { probability, labeler } of comparisons) {
    expect(probability).toBeGreaterThanOrEqual(0.5);
    expect(labeler).toMatch(/^ai by test /);
  }
  const { criteria } = JSON.parse(readFileSync(at("by-ai/round-1/evaluation.json"), "utf8"));
  expect(Object.keys(criteria)).toEqual(["short"]);
}, 60_000);

/** Judges all tasks of a store as a person who prefers long answers would. @returns how many */
async function judgeAll(path: string): Promise<number> {
  const store = await LabelStore.openExisting(path);
  try {
    const [project] = await store.projects();
    if (!project) throw new Error("there is no project");
    const known = (await store.users()).find(({ name }) => name === "ann");
    const ann = known ?? (await store.addUser(null, { name: "ann", role: "owner" }));
    for (let judged = 0; ; judged++) {
      const task = await nextTask(store, project, ann);
      if (!task) return judged;
      const lengths = task.completions.map(({ length }) => length);
      const ranks = lengths.map((length) => 1 + lengths.filter((other) => other > length).length);
      await submitJudgement(store, task.lease, ann.id, { ranks }, 1);
    }
  } finally {
    await store.close();
  }
}

describe("plumbline loop with people", () => {
  it("waits for them without a process, and goes on with what they judged", async () => {
    writeRecipe("people.yaml", { rounds: 1, labelers: { people: { store: "labels.db" } } });
    const call = () => succeed(loop("people.yaml", "people"), { cwd: dir });
    const first = report(await call());
    expect(first).toMatchObject({
      state: "waiting",
      waiting: { what: "round 1", missing: 8, tasks: 8, store: "labels.db", project: "loop" },
    });
    // Another call adds no task.
    expect(report(await call()).waiting.tasks).toBe(8);
    const text = await succeed(["loop", "people.yaml", "--run", "people"], { cwd: dir });
    expect(text).toMatch(
      /8 of 8 tasks wait to be judged in project "loop"\.\n {2}plumbline serve --store labels\.db/,
    );
    expect(await judgeAll(at("labels.db"))).toBe(8);
    const second = report(await call());
    expect(second).toMatchObject({ state: "waiting", waiting: { what: "evaluation of round 1" } });
    expect(second.rounds[0].comparisons).toBeGreaterThan(0);
    expect(await judgeAll(at("labels.db"))).toBe(second.waiting.tasks);
    const last = report(await call());
    expect(last.state).toBe("done");
    // People judged by length alone: so does this count of the longer answers.
    const [old, fresh] = JSON.parse(readFileSync(at("people/round-1/held-out-answers.json"), "utf8"));
    const wins = fresh.answers.map(
      ({ text }: { text: string }, i: number) =>
        (Math.sign(text.length - old.answers[i].text.length) + 1) / 2,
    );
    const expected = wins.reduce((sum: number, win: number) => sum + win, 0) / wins.length;
    expect(last.rounds[0].winRate.value).toBeCloseTo(expected, 10);
  }, 120_000);

  it("shares the prompts with simulated labelers", async () => {
    writeRecipe("mix.yaml", {
      rounds: 1,
      labelers: { people: { store: "mix.db", share: 1 }, simulated: { reward: "length.mjs", share: 3 } },
      evaluation: { heldOut: 0.3, reward: "length.mjs" },
    });
    const call = () => succeed(loop("mix.yaml", "mix"), { cwd: dir });
    expect(report(await call()).waiting).toMatchObject({ missing: 2, tasks: 2 });
    await judgeAll(at("mix.db"));
    expect(report(await call())).toMatchObject({ state: "done" });
    const comparisons = readFileSync(at("mix/round-1/comparisons.jsonl"), "utf8").trim().split("\n");
    const labelers = comparisons.map((line) => JSON.parse(line).labeler);
    expect(labelers.filter((name) => name === "simulated")).toHaveLength(6);
    expect(labelers.filter((name) => name === "ann").length).toBeGreaterThan(0);
  }, 60_000);

  it("asks again in a new loop, of the same name and in the same store", async () => {
    writeRecipe("again.yaml", { rounds: 1, labelers: { people: { store: "again.db" } } });
    const call = () => succeed(loop("again.yaml", "again"), { cwd: dir });
    await call();
    await judgeAll(at("again.db"));
    rmSync(at("again"), { recursive: true });
    expect(report(await call()).waiting).toMatchObject({ what: "round 1", missing: 8, tasks: 8 });
  }, 60_000);

  it("says in one message that the store vanished, or was replaced by another", async () => {
    writeRecipe("gone.yaml", { rounds: 1, labelers: { people: { store: "gone.db" } } });
    await succeed(loop("gone.yaml", "gone"), { cwd: dir });
    rmSync(at("gone.db"));
    const vanished = await plumbline(loop("gone.yaml", "gone"), { cwd: dir });
    expect(vanished.code).toBe(1);
    expect(vanished.stderr).toMatch(
      /^error: gone\.db: the label store with the tasks of this loop cannot be opened: .*Put it back/m,
    );
    expect(existsSync(at("gone.db"))).toBe(false);
    await (await LabelStore.open(at("gone.db"))).close();
    const replaced = await plumbline(loop("gone.yaml", "gone"), { cwd: dir });
    expect(replaced.stderr).toMatch(
      /gone\.db: the project with the tasks of this loop .* is not in this store/,
    );
  }, 60_000);
});
