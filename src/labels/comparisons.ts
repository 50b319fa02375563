import type { Message } from "../data/records.ts";
import { groupBy } from "../statistics/groups.ts";
import { mean } from "../statistics/numbers.ts";
import { findProject, readTrainingJudgements } from "./export.ts";
import type { Project } from "./records.ts";
import type { Answer } from "./settings.ts";
import { type LabelStore, RequestError } from "./store.ts";

// Comparisons of two answers that a program asks people for, and reads back when they are judged.

/** Two answers to a prompt, with the models that wrote them. Labelers see neither the models nor the order. */
export interface AnswerPair {
  messages: Message[];
  answers: readonly [{ text: string; model: string }, { text: string; model: string }];
}

/** What people say of a pair. */
export interface PairVerdict {
  /** From 0 to 1: how much better the first answer is, the mean of its judgements by weight. "Both are bad" is one half. */
  outcome: number;
  /** Mean weight of its judgements: the reliability of who judged. */
  weight: number;
  /** The outcome by each criterion of the project's rubric. */
  criteria: Record<string, number>;
}

export interface Comparisons {
  project: Project;
  /** Verdicts in the order of the pairs; undefined for pairs that nobody judged whose judgements count. */
  verdicts: (PairVerdict | undefined)[];
  /** Number of pairs that have all judgements that the project asks for. */
  complete: number;
  judgements: number;
}

/**
 * Adds a task for each pair to a pairwise project, which is created if there is none of this name.
 * @param source identifies the pairs for `readComparisons`
 * @throws RequestError (409) if the project takes other tasks
 */
export async function requestComparisons(
  store: LabelStore,
  { project: name, source }: { project: string; source: string },
  pairs: readonly AnswerPair[],
): Promise<void> {
  const all = await store.projects();
  const exists = all.some((project) => project.id === name || project.name === name);
  const project = exists
    ? findProject(all, name)
    : await store.addProject(null, { name, settings: { kind: "pairwise" } });
  if (project.settings.kind !== "pairwise")
    throw new RequestError(
      409,
      `"${project.name}" is a project of ${project.settings.kind} tasks; comparisons need a pairwise one: name another`,
    );
  await store.addTasks(
    null,
    project,
    pairs.map(({ messages, answers }) => ({ messages, source, completions: [...answers] })),
  );
}

/** Reads what people say of the pairs that were requested as `source`; undefined if there are none. */
export async function readComparisons(store: LabelStore, source: string): Promise<Comparisons | undefined> {
  const tasks = await store.db
    .selectFrom("task")
    .innerJoin("prompt", "prompt.id", "task.prompt")
    .select(["task.id", "task.project", "task.complete"])
    .where("prompt.source", "=", source)
    .orderBy("task.place")
    .execute();
  const [first] = tasks;
  if (!first) return undefined;
  const project = await store.project(first.project);
  const ids = new Set(tasks.map(({ id }) => id));
  const judgements = (await readTrainingJudgements(store, project)).filter(({ task }) => ids.has(task));
  const judgementsByTask = groupBy(judgements, ({ task }) => task);
  return {
    project,
    verdicts: tasks.map(({ id }) => verdictOf(judgementsByTask.get(id) ?? [])),
    complete: tasks.filter(({ complete }) => complete === 1).length,
    judgements: judgements.length,
  };
}

/** Summarises the judgements of a pair. Those of weight 0 do not count. */
function verdictOf(all: readonly { answer: Answer; weight: number }[]): PairVerdict | undefined {
  const judgements = all.filter(({ weight }) => weight > 0);
  if (!judgements.length) return undefined;
  const weighted = (outcome: (answer: Answer) => number | undefined) => {
    const outcomes = judgements.flatMap(({ answer, weight }) => {
      const value = outcome(answer);
      return value === undefined ? [] : [{ value, weight }];
    });
    const total = outcomes.reduce((sum, { weight }) => sum + weight, 0);
    return outcomes.reduce((sum, { value, weight }) => sum + weight * value, 0) / total;
  };
  const names = [...new Set(judgements.flatMap(({ answer }) => Object.keys(answer.ratings ?? {})))];
  return {
    outcome: weighted(({ bothBad, preference = 4.5 }) => (bothBad ? 0.5 : Number(preference < 4.5))),
    weight: mean(judgements.map(({ weight }) => weight)),
    criteria: Object.fromEntries(
      names.map((name) => [name, weighted(({ ratings = {} }) => outcomeOfRatings(ratings[name]))]),
    ),
  };
}

/** Outcome of the ratings of two answers on a criterion: the higher wins. Undefined without ratings. */
const outcomeOfRatings = (ratings: readonly number[] | undefined): number | undefined =>
  ratings && (Math.sign((ratings[0] as number) - (ratings[1] as number)) + 1) / 2;
