import { type Estimate, winRate } from "../statistics/estimate.ts";
import { groupBy } from "../statistics/groups.ts";
import { median } from "../statistics/numbers.ts";
import { type LabelerReliability, trainingWeight, unprovenWeight } from "../statistics/reliability.ts";
import {
  countedJudgements,
  isCorrect,
  isSameAnswer,
  type Judgement,
  pairKey,
  readJudgements,
} from "./judgements.ts";
import { listMembers } from "./members.ts";
import { answersDisagree, type PairwisePreference } from "./pairwise-preferences.ts";
import type { Project, User } from "./records.ts";
import type { TaskKind } from "./settings.ts";
import type { LabelStore } from "./store.ts";
import { labelerReliabilities } from "./weights.ts";

export interface LabelerQuality {
  user: User;
  judgements: number;
  skipped: number;
  /** Judgements of gold tasks, and how many of them agree with the known answer. */
  gold: { right: number; total: number };
  /** Repeated judgements, and how many of them agree with the labeler's first one. */
  consistency: { same: number; total: number };
  /** Position bias and length bias: win rates of the completion shown first, and of the longer one. 0.5 is no bias. */
  left: Estimate;
  long: Estimate;
  /** Median seconds for a judgement. */
  seconds?: number;
  /** By week, pairs that another labeler judged too, and how many of them both judged the same. */
  agreement: { week: string; agree: number; total: number }[];
  /** Probability of preferring the better completion: see `reliability.ts`. Absent before the first comparison. */
  reliability?: number;
  /** Weight of the labeler's judgements in training. */
  weight: number;
}

/** Measures the quality of each labeler: everyone who has judged in the project, or is a labeler of it. */
export async function labelerQuality(store: LabelStore, project: Project): Promise<LabelerQuality[]> {
  const all = await readJudgements(store, project.id);
  const lengths = await textLengths(store, project.id);
  const byPair = groupBy(judgedPairs(countedJudgements(all)), ({ judgement, preference }) =>
    pairKey(judgement.task, preference),
  );
  const reliabilities = labelerReliabilities(all);
  const byLabeler = groupBy(all, ({ labeler }) => labeler);
  const members = (await listMembers(store, project.id)).filter(({ role }) => role === "labeler");
  const labelerIds = new Set([...members.map(({ id }) => id), ...byLabeler.keys()]);
  const users = (await store.users()).filter(({ id }) => labelerIds.has(id));
  return users.map((user): LabelerQuality => {
    const judgements = byLabeler.get(user.id) ?? [];
    const answered = judgements.filter(({ answer }) => answer.skip === undefined);
    const counted = countedJudgements(judgements);
    const strictPairs = judgedPairs(counted).filter(({ preference }) => preference.margin !== 0);
    const gold = answered.filter((judgement) => judgement.gold);
    const repeated = answered.filter(({ repeat }) => repeat);
    // Imported judgements without a time have 0 seconds.
    const timed = judgements.filter(({ source, seconds }) => source === null || seconds > 0);
    const firstByTask = new Map(counted.map((judgement) => [judgement.task, judgement]));
    return {
      user,
      judgements: judgements.length,
      skipped: judgements.length - answered.length,
      gold: { right: gold.filter(isCorrect).length, total: gold.length },
      consistency: {
        same: repeated.filter(({ task, answer }) => {
          const first = firstByTask.get(task);
          return first !== undefined && isSameAnswer(first.answer, answer);
        }).length,
        total: repeated.length,
      },
      left: winsByTask(strictPairs, ({ order }, place) => -order.indexOf(place)),
      long: winsByTask(strictPairs, ({ task }, place) => lengths.get(task)?.[place] ?? 0),
      ...(timed.length > 0 && { seconds: median(timed.map(({ seconds }) => seconds)) }),
      agreement: agreementByWeek(strictPairs, byPair),
      ...reliabilityFields(reliabilities.get(user.id), project.settings.kind),
    };
  });
}

const judgedPairs = (judgements: readonly Judgement[]): JudgedPair[] =>
  judgements.flatMap((judgement) => judgement.preferences.map((preference) => ({ judgement, preference })));

/**
 * A labeler without comparisons has no reliability. Their weight is that of the prior where people compare, and 1 where
 * they do not.
 */
function reliabilityFields(
  reliability: LabelerReliability | undefined,
  kind: TaskKind,
): Pick<LabelerQuality, "reliability" | "weight"> {
  if (reliability) return { reliability: reliability.accuracy, weight: trainingWeight(reliability) };
  return { weight: kind === "demonstration" ? 1 : unprovenWeight };
}

/** Estimates how often the completion with the larger value of a feature wins. */
const winsByTask = (
  pairs: readonly JudgedPair[],
  feature: (judgement: Judgement, place: number) => number,
): Estimate =>
  winRate(
    [...groupBy(pairs, ({ judgement }) => judgement.task).values()].map((task) =>
      task.map(({ judgement, preference }) => wonByLarger(preference, (place) => feature(judgement, place))),
    ),
  );

/**
 * Whether the completion with the larger value of a feature was preferred: 1 if so, 0 if not, undefined if both values
 * are equal.
 */
function wonByLarger(
  { first, second, margin }: PairwisePreference,
  feature: (place: number) => number,
): number | undefined {
  const difference = feature(first) - feature(second);
  return difference === 0 ? undefined : Number(difference > 0 === margin > 0);
}

/** One of the pairs that a judgement compares. */
type JudgedPair = { judgement: Judgement; preference: PairwisePreference };

/** Compares a labeler's pairwise preferences with those of others, by week. */
function agreementByWeek(
  pairs: readonly JudgedPair[],
  byPair: ReadonlyMap<string, JudgedPair[]>,
): LabelerQuality["agreement"] {
  const weeks = groupBy(pairs, ({ judgement }) => mondayOf(judgement.at));
  return [...weeks].map(([week, weekPairs]) => {
    const agreements = weekPairs.flatMap(({ judgement, preference }) =>
      (byPair.get(pairKey(judgement.task, preference)) ?? [])
        .filter((other) => other.judgement.labeler !== judgement.labeler)
        .map((other) => Number(Math.sign(other.preference.margin) === Math.sign(preference.margin))),
    );
    return { week, agree: agreements.reduce((a, b) => a + b, 0), total: agreements.length };
  });
}

/** Returns the date of the Monday of a time's week, in UTC. */
function mondayOf(at: number): string {
  const date = new Date(at);
  date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + 6) % 7));
  return date.toISOString().slice(0, 10);
}

/** Reads the length of each completion in characters, by task. */
async function textLengths(store: LabelStore, project: string): Promise<ReadonlyMap<string, number[]>> {
  const rows = await store.db
    .selectFrom("completion")
    .innerJoin("task", "task.prompt", "completion.prompt")
    .select(["task.id", "completion.place", "completion.text"])
    .where("task.project", "=", project)
    .execute();
  const lengths = new Map<string, number[]>();
  for (const { id, place, text } of rows) {
    const taskLengths = lengths.get(id) ?? [];
    taskLengths[place] = (JSON.parse(text) as string).length;
    lengths.set(id, taskLengths);
  }
  return lengths;
}

/** Reads the tasks that labelers disagree about and no reviewer has decided, with their judgements. */
export async function disputedTasks(store: LabelStore, project: Project) {
  const all = countedJudgements(await readJudgements(store, project.id));
  const decisions = await store.db
    .selectFrom("adjudication")
    .select("task")
    .where("project", "=", project.id)
    .execute();
  const decided = new Set(decisions.map(({ task }) => task));
  const names = new Map((await store.users()).map(({ id, name }) => [id, name]));
  const disputed = [...groupBy(all, ({ task }) => task)].filter(
    ([task, judgements]) => !decided.has(task) && answersDisagree(judgements.map(({ answer }) => answer)),
  );
  return Promise.all(
    disputed.map(async ([task, judgements]) => {
      const { messages, completions } = await store.taskContent(task);
      return {
        task,
        messages,
        completions: completions.map(({ text, model }) => ({ text, model })),
        judgements: judgements.map(({ id, labeler, answer, seconds, at }) => ({
          id,
          labeler,
          name: names.get(labeler) ?? labeler,
          answer,
          seconds,
          at,
        })),
      };
    }),
  );
}
