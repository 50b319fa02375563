import { afterEach, beforeEach, expect, it } from "vitest";
import { adjudicate, nextTask, submitJudgement } from "./labeling.ts";
import { projectQuality } from "./quality.ts";
import type { Assignment, Project, User } from "./records.ts";
import type { Answer } from "./settings.ts";
import { LabelStore } from "./store.ts";

let store: LabelStore;
let owner: User;
beforeEach(async () => {
  store = await LabelStore.open(":memory:");
  owner = await store.addUser(null, { name: "owner", role: "owner" });
});
afterEach(() => store.close());

/** A project of tasks that two labelers judged. @param answer of labeler 0 or 1, and how they see the completions */
async function judged(
  settings: object,
  tasks: number,
  completions: number,
  answer: (labeler: number, assignment: Assignment) => Answer,
): Promise<Project> {
  const project = await store.addProject(owner.id, {
    name: "answers",
    settings: { goldRate: 0, repeatRate: 0, overlap: 2, maxOverlap: 2, price: 1, ...settings } as never,
  });
  const contents = Array.from({ length: tasks }, (_, i) => ({
    messages: [{ role: "user" as const, content: `question ${i}` }],
    completions: Array.from({ length: completions }, (_, j) => ({ text: `${j}` })),
  }));
  await store.addTasks(owner.id, project, contents);
  for (const labeler of [0, 1]) {
    const user = await store.addUser(owner.id, { name: `labeler ${labeler}`, role: "labeler" });
    for (;;) {
      const assignment = await nextTask(store, project, user);
      if (!assignment) break;
      await submitJudgement(store, assignment.lease, user.id, answer(labeler, assignment), 1);
    }
  }
  return project;
}
/** Prefers the first stored completion, or the second. */
const prefer = ({ completions }: Assignment, first: boolean): Answer => ({
  preference: (completions[0] === "0") === first ? 1 : 8,
});
const taskIds = async () => (await store.db.selectFrom("task").select("id").execute()).map(({ id }) => id);

it("counts what a reviewer has decided as usable", async () => {
  const project = await judged({ kind: "pairwise" }, 10, 2, (who, task) => prefer(task, who === 0));
  expect(await projectQuality(store, project)).toMatchObject({ usable: 0, spent: 20 });
  const [dismissed, ...others] = await taskIds();
  for (const task of others) await adjudicate(store, project, owner.id, task, { preference: 2 });
  await adjudicate(store, project, owner.id, dismissed as string, { bothBad: true });
  const quality = await projectQuality(store, project);
  expect(quality).toMatchObject({ usable: 9, costPerUsable: 20 / 9 });
  // 20 judgements of 10 tasks for nine comparisons.
  expect(quality.forecast).toEqual({
    target: 33_000,
    cost: expect.closeTo((33_000 * 20) / 9, 6),
    judgements: Math.ceil((33_000 * 20) / 9),
    tasks: Math.ceil((33_000 * 10) / 9),
  });
});

it("forecasts comparisons of rankings, and the prompts that they are of", async () => {
  const inOrder = ({ completions }: Assignment): Answer => ({
    ranks: completions.map((text) => Number(text) + 1),
  });
  const project = await judged({ kind: "ranking", target: 36_000 }, 6, 9, (_, task) => inOrder(task));
  const { usable, forecast } = await projectQuality(store, project);
  expect(usable).toBe(6 * 36);
  expect(forecast).toEqual({ target: 36_000, cost: 2000, judgements: 2000, tasks: 1000 });
});

it("takes both bad for an answer of its own, in agreement, disputes and usable comparisons alike", async () => {
  // Task by task: the two agree on the first four, and one calls the completions of the others both bad.
  const project = await judged({ kind: "pairwise" }, 8, 2, (who, task) =>
    who === 1 && Number(task.messages[0]?.content.at(-1)) >= 4 ? { bothBad: true } : prefer(task, true),
  );
  const { alpha, worst, usable, pairs } = await projectQuality(store, project);
  // By hand, in both orders: 32 ratings, 12 for each completion and 8 both bad, of which half of the pairs disagree.
  // D_e = 1 − (2 · 12 · 11 + 8 · 7) / (32 · 31) = 672 / 992.
  expect(alpha.value?.value).toBeCloseTo(1 - 0.5 / (672 / 992), 12);
  expect(worst).toHaveLength(4);
  expect(worst[0]?.disagreement).toBe(1);
  expect(usable).toBe(4);
  expect(pairs[0]).toMatchObject({ observed: 0.5, items: 8 });
});

it("counts rankings that are all ties in Kendall's τ", async () => {
  // One labeler ranks on half of the tasks and ties the rest; the other always ranks in the same order.
  const project = await judged({ kind: "ranking" }, 10, 4, (who, { completions, messages }) => ({
    ranks: completions.map((text) =>
      who === 1 && Number(messages[0]?.content.at(-1)) % 2 ? 1 : Number(text) + 1,
    ),
  }));
  const { tau } = await projectQuality(store, project);
  expect(tau.value?.value).toBe(0.5);
  expect(tau.value?.low).toBeLessThan(0.5);
});
