import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readComparisons, requestComparisons } from "./comparisons.ts";
import { adjudicate, nextTask, submitJudgement } from "./labeling.ts";
import type { Answer } from "./settings.ts";
import { LabelStore } from "./store.ts";

const pairs = ["p0", "p1", "p2", "p3"].map((content) => ({
  messages: [{ role: "user" as const, content }],
  answers: [
    { text: `good ${content}`, model: "a" },
    { text: `bad ${content}`, model: "b" },
  ] as const,
}));

it("reads what people say of pairs: by weight, by criterion, with decisions, and without what was skipped", async () => {
  const store = await LabelStore.open(join(mkdtempSync(join(tmpdir(), "comparisons-")), "labels.db"));
  const settings = { kind: "pairwise" as const, rubric: [{ name: "kind" }], overlap: 2, maxOverlap: 2 };
  const project = await store.addProject(null, { name: "answers", settings });
  expect(await readComparisons(store, "x")).toBeUndefined();
  await requestComparisons(store, { project: "answers", source: "x" }, pairs);
  await requestComparisons(store, { project: "answers", source: "y" }, pairs);
  expect(await store.projects()).toHaveLength(1);

  /** A labeler judges all tasks; `answerTo` is in the stored order. */
  const judge = async (name: string, answerTo: (prompt: string) => Answer) => {
    const labeler = await store.addUser(null, { name, role: "labeler" });
    for (;;) {
      const task = await nextTask(store, project, labeler);
      if (!task) return;
      const answer = answerTo(task.messages[0]?.content ?? "");
      const isSwapped = task.completions[0]?.startsWith("bad");
      const { preference, ratings } = answer;
      await submitJudgement(
        store,
        task.lease,
        labeler.id,
        {
          ...answer,
          ...(preference !== undefined && { preference: isSwapped ? 9 - preference : preference }),
          ...(ratings && {
            ratings: { kind: isSwapped ? [...(ratings.kind ?? [])].reverse() : (ratings.kind ?? []) },
          }),
        },
        1,
      );
    }
  };
  await judge("ann", (prompt) =>
    prompt === "p3"
      ? { skip: "no idea" }
      : prompt === "p2"
        ? { bothBad: true, ratings: { kind: [2, 2] } }
        : { preference: 2, ratings: { kind: [5, 3] } },
  );
  await judge("bob", (prompt) =>
    prompt === "p3"
      ? { skip: "no idea" }
      : { preference: prompt === "p1" ? 7 : 3, ratings: { kind: [1, 7] } },
  );
  const found = await readComparisons(store, "x");
  // Two labelers of whom little is known weigh the same.
  expect(found?.verdicts.map((verdict) => verdict?.outcome)).toEqual([1, 0.5, 0.75, undefined]);
  expect(found?.verdicts.map((verdict) => verdict?.criteria.kind)).toEqual([0.5, 0.5, 0.25, undefined]);
  expect(found).toMatchObject({ complete: 3, judgements: 6, project: { name: "answers" } });
  const weights = found?.verdicts.flatMap((verdict) => verdict?.weight ?? []) ?? [];
  expect(Math.min(...weights)).toBeGreaterThan(0);

  const owner = await store.addUser(null, { name: "owner", role: "owner" });
  const tasks = await store.db.selectFrom("task").select("id").orderBy("place").execute();
  const decision = { preference: 8, ratings: { kind: [1, 7] } };
  await adjudicate(store, project, owner.id, tasks[1]?.id as string, decision);
  const decided = (await readComparisons(store, "x"))?.verdicts[1];
  expect(decided).toEqual({ outcome: 0, weight: 1, criteria: { kind: 0 } });
  await store.close();
});
