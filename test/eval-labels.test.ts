import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { nextTask, submitJudgement } from "../src/labels/labeling.ts";
import { LabelStore } from "../src/labels/store.ts";
import { jsonLines, plumbline, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

let cwd: string;
const prompts = Array.from({ length: 20 }, (_, i) => ({ prompt: `question ${i}` }));
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), "eval-labels-"));
  tinyModel().save(join(cwd, "plain"));
  tinyModel(2).save(join(cwd, "tuned"));
  writeFileSync(join(cwd, "prompts.jsonl"), prompts.map((row) => `${JSON.stringify(row)}\n`).join(""));
  writeFileSync(join(cwd, "longer.mjs"), "export default (_, text) => text.length;\n");
});
afterAll(() => rmSync(cwd, { recursive: true }));

const args = ["eval", "plain", "tuned", "--data", "prompts.jsonl", "--max-tokens", "6", "--out", "out"];
const people = [...args, "--labels", "labels.db"];

/** Lets a labeler judge up to `most` tasks: the longer answer is better; of equally long ones both are bad. */
async function label(name: string, most: number): Promise<string[]> {
  const store = await LabelStore.openExisting(join(cwd, "labels.db"));
  const found = (await store.users()).find((user) => user.name === name);
  const labeler = found ?? (await store.addUser(null, { name, role: "labeler" }));
  const [project] = await store.projects();
  const seen: string[] = [];
  while (seen.length < most) {
    const task = await nextTask(store, project as NonNullable<typeof project>, labeler);
    if (!task) break;
    seen.push(JSON.stringify([task, project?.name]));
    const [left = 0, right = 0] = task.completions.map((text) => text.length);
    const answer = left === right ? { bothBad: true } : { preference: left > right ? 1 : 8 };
    await submitJudgement(store, task.lease, labeler.id, answer, 1);
  }
  await store.close();
  return seen;
}

it("lets people judge: makes blind tasks, says what is missing, and reports as other judges do", async () => {
  const first = await plumbline(people, { cwd });
  expect(first.code).toBe(0);
  expect(first.stdout).toMatch(/^0 of 20 tasks are judged/);
  expect(first.stdout).toMatch(/plumbline serve --store labels\.db/);
  expect(existsSync(join(cwd, "out/report.json"))).toBe(false);

  const shown = await label("ann", 8);
  expect(shown).toHaveLength(8);
  // What a labeler is sent names no policy.
  for (const task of shown) expect(task).not.toMatch(/plain|tuned/);
  // As if the first command had been killed after it added the tasks: they are not added again.
  rmSync(join(cwd, "out/label-tasks.json"));
  const partly = await plumbline(people, { cwd });
  expect(partly.stdout).toMatch(
    /^8 of 20 tasks are judged; 0 have all judgements that the project asks for\. Judgements in all: 8\./,
  );
  expect(partly.stdout).toMatch(/tuned +0\.\d+ \[/);
  expect(partly.stderr).not.toMatch(/answers 20 prompts/);

  expect(JSON.parse(await succeed([...people, "--json"], { cwd })).labels.judged).toBe(8);
  for (const name of ["ann", "bob", "eve"]) await label(name, 100);
  const report = JSON.parse(await succeed([...people, "--json"], { cwd }));
  expect(report.labels).toMatchObject({ tasks: 20, judged: 20, complete: 20 });
  const page = readFileSync(join(cwd, "out/report.html"), "utf8");
  expect(page).toContain("20 of 20");

  // People who prefer the longer answer say the same as a reward that is the length.
  const byLength = JSON.parse(await succeed([...args, "--reward", "longer.mjs", "--json"], { cwd }));
  // The fits stop at steps below 1e-10.
  for (const name of ["winRate", "lengthControlled", "rating"])
    for (const end of ["value", "low", "high"])
      expect(report.policies[1][name][end]).toBeCloseTo(byLength.policies[1][name][end], 8);

  // The order shown is random, so that a preference for one side does not matter.
  const rows = jsonLines(
    await succeed(["labels", "export", "--store", "labels.db", "--format", "judgements"], { cwd }),
  );
  const orders = new Set(rows.map(({ order }) => order.join()));
  expect(orders.size).toBe(2);
  expect(new Set(rows.flatMap(({ models }) => models))).toEqual(new Set(["plain", "tuned"]));
}, 60_000);

it("says what is wrong with a label store or project", async () => {
  const fails = async (...more: string[]) => {
    const { code, stdout, stderr } = await plumbline([...people, ...more], { cwd });
    expect([code, stdout]).toEqual([1, ""]);
    return stderr;
  };
  expect(await fails("--labels", "vanished.db")).toMatch(/vanished\.db: there is no such label store/);
  expect(existsSync(join(cwd, "vanished.db"))).toBe(false);
  const other = await LabelStore.open(join(cwd, "other.db"));
  await other.addProject(null, { name: "ranks", settings: { kind: "ranking" } });
  await other.close();
  expect(await fails("--labels", "other.db")).toMatch(/other\.db: this label store has none of the 20 tasks/);
  const fresh = ["--labels", "other.db", "--out", "fresh", "--project", "ranks"];
  expect(await fails(...fresh)).toMatch(/"ranks" is a project of ranking tasks; comparisons need a pairwise/);
  expect(await fails("--reward", "longer.mjs")).toMatch(/give one judge/);
  const equal = ["eval", "plain", "other", "--data", "prompts.jsonl", "--max-tokens", "6"];
  tinyModel().save(join(cwd, "other"));
  const { stderr } = await plumbline([...equal, "--labels", "new.db", "--out", "equal"], { cwd });
  expect(stderr).toMatch(/all answers of the policies are equal: there is nothing to judge/);
  expect(existsSync(join(cwd, "new.db"))).toBe(false);
}, 60_000);
