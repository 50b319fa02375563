import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { jsonLines, plumbline, set, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

it("a reward model learns from a label store how much better people found the better answer", async () => {
  const cwd = mkdtempSync(join(tmpdir(), "label-data-"));
  const model = tinyModel();
  model.save(join(cwd, "tiny"));
  model.dispose();
  const judged = [1, 4].map((strength) => ({
    prompt: [{ role: "user", content: `say ${strength}` }],
    completions: ["yes", "no"],
    ranks: [1, 2],
    strength,
    labeler: "ann",
  }));
  writeFileSync(join(cwd, "judged.jsonl"), judged.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const store = ["--store", "labels.db"];
  await succeed(["labels", "import", "judged.jsonl", "--kind", "pairwise", "--judgements", ...store], {
    cwd,
  });
  const settings = set({ heldOut: 0, normaliseSamples: 0 });
  const args = ["reward", "--model", "tiny", "--labels", "labels.db", ...settings];
  await succeed([...args, "--run", "run"], { cwd });
  const rows = jsonLines(readFileSync(join(cwd, "run.labels.jsonl"), "utf8"));
  // 0 for slightly better to 3 for much better (Touvron et al. 2023, table 27).
  expect(rows.map(({ margins }) => margins).sort()).toEqual([0, 3]);

  // One labeler of whom little is known has the weight 2 · 2/3 − 1 by the prior; without weights all have 1.
  for (const { weight } of rows) expect(weight).toBeCloseTo(1 / 3, 6);
  await succeed([...args, "--unweighted", "--run", "equal"], { cwd });
  const equal = jsonLines(readFileSync(join(cwd, "equal.labels.jsonl"), "utf8"));
  expect(equal.map(({ weight, ...row }) => ({ weight, task: row.task }))).toEqual(
    rows.map(({ task }) => ({ weight: 1, task })),
  );
  const file = ["reward", "--model", "tiny", "--data", "judged.jsonl", "--unweighted"];
  expect((await plumbline(file, { cwd })).stderr).toMatch(/--unweighted is about the labels of --labels/);
  expect(await succeed(["reward", "--help"])).toMatch(/--unweighted +count the judgements of all labelers/);

  const before = readdirSync(cwd);
  expect(await succeed([...args, "--estimate"], { cwd })).toMatch(/1 step: too few to tell/);
  expect(readdirSync(cwd)).toEqual(before);
}, 60_000);
