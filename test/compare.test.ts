import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { plumbline, set, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

// `compare` by the command line, on a model that is real in all but size.

let dir: string;
const at = (...names: string[]) => join(dir, ...names);
const run = (...args: string[]) => succeed(args, { cwd: dir });

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "compare-"));
  tinyModel(0, { max_position_embeddings: 512 }).save(at("tiny"));
  const rows = Array.from({ length: 12 }, (_, i) => ({
    prompt: `say ${i}`,
    chosen: `it is ${i}`,
    rejected: "no",
  }));
  const text = (of: (row: (typeof rows)[number]) => object) =>
    rows.map((row) => `${JSON.stringify(of(row))}\n`).join("");
  writeFileSync(
    at("demonstrations.jsonl"),
    text(({ prompt, chosen }) => ({ prompt, completion: chosen })),
  );
  mkdirSync(at("quick"));
  writeFileSync(
    at("quick/comparisons.jsonl"),
    text((row) => row),
  );
  await run(
    "sft",
    "--model",
    "tiny",
    "--data",
    "demonstrations.jsonl",
    "--run",
    "quick/sft",
    ...set({ epochs: 1 }),
  );
  await run(
    ...["reward", "--model", "quick/sft", "--data", "quick/comparisons.jsonl", "--run", "quick/reward"],
    ...set({ normaliseSamples: 8, sampleTokens: 8 }),
  );
  for (const [name, stage] of [
    ["tiny-ppo", "ppo"],
    ["tiny-rloo", "grpo"],
    ["tiny-dpo", "dpo"],
    ["tiny-rejection", "rejection"],
  ] as const) {
    mkdirSync(at(name));
    const sampled = "batchSize: 8\nsamplesPerPrompt: 4\nmaxTokens: 8\n";
    writeFileSync(
      at(name, `${stage}.yaml`),
      stage === "dpo"
        ? "epochs: 1\nbatchSize: 4\n"
        : `${stage === "rejection" ? "rounds: 2\n" : ""}${sampled}${stage === "grpo" ? "algorithm: rloo\n" : ""}`,
    );
  }
}, 120_000);
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const compare = (...more: string[]) => [
  ...[
    "compare",
    "tiny-ppo",
    "tiny-rloo",
    "tiny-dpo",
    "tiny-rejection",
    "--from",
    "quick",
    "--out",
    "out",
    "--limit",
    "3",
  ],
  ...["--responses", "16", "--seeds", "2", ...more],
];

it("runs each with each seed once, on the same budget, and draws a page", async () => {
  const found = JSON.parse(await run(...compare("--json")));
  expect(found.map(({ optimiser }: { optimiser: string }) => optimiser).sort()).toEqual([
    "tiny-dpo",
    "tiny-ppo",
    "tiny-rejection",
    "tiny-rloo",
  ]);
  for (const { optimiser, seeds, responses, seconds, gb, gains } of found) {
    expect([seeds, gains.length]).toEqual([2, 2]);
    expect(responses).toBe(optimiser === "tiny-dpo" ? 0 : 16);
    expect(seconds).toBeGreaterThan(0);
    if (process.platform === "linux") expect(gb).toBeGreaterThan(0.05);
  }
  expect(readFileSync(at("out/compare.html"), "utf8")).toMatch(/tiny-rloo/);
  // Finished runs are not repeated.
  const events = () => readFileSync(at("out/tiny-ppo-0/events.jsonl"), "utf8");
  const before = events();
  expect(await run(...compare())).toMatch(/optimiser\s+gold \[95 %\]/);
  expect(events()).toBe(before);
  // An interrupted run is repeated.
  rmSync(at("out/tiny-ppo-0/trial.json"));
  await run(...compare());
  expect(existsSync(at("out/tiny-ppo-0/trial.json"))).toBe(true);
  expect(events()).not.toBe(before);
}, 240_000);

it("says what is missing", async () => {
  for (const [args, why] of [
    [
      ["compare", "--from", "nowhere"],
      /nowhere: there is no run "sft" in it: run `plumbline quickstart` first/,
    ],
    [["compare", "quick", "--from", "quick"], /quick: there is no ppo\.yaml, .*rejection\.yaml in it/],
    [compare("--minutes", "1"), /--responses or --minutes/],
  ] as const) {
    const { stderr, code } = await plumbline([...args], { cwd: dir });
    expect(stderr).toMatch(why);
    expect(code).toBe(1);
  }
}, 60_000);
