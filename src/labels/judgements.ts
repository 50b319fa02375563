import type { Message } from "../data/records.ts";
import { answersDisagree, type PairwisePreference, pairwisePreferences } from "./pairwise-preferences.ts";
import { type Answer, parseAnswer } from "./settings.ts";
import type { LabelStore } from "./store.ts";

/** A judgement that has not been revised, with its task's known answer. */
export interface Judgement {
  id: string;
  task: string;
  labeler: string;
  answer: Answer;
  /** Stored position of the completion that was shown at each position. */
  order: number[];
  seconds: number;
  at: number;
  repeat: boolean;
  /** Name of the file that it was imported from; null if it was made in the web app. */
  source: string | null;
  /** Known answer of the task; undefined if it is not a gold task. */
  gold: Answer | undefined;
  preferences: PairwisePreference[];
}

/** Reads a project's judgements, oldest first, without revised ones and those of withdrawn tasks. */
export async function readJudgements(store: LabelStore, project: string): Promise<Judgement[]> {
  const rows = await store.db
    .selectFrom("judgement")
    .innerJoin("task", "task.id", "judgement.task")
    .select(["judgement.id", "judgement.task", "judgement.labeler", "judgement.answer", "judgement.order"])
    .select(["judgement.seconds", "judgement.at", "judgement.repeat", "judgement.source", "task.gold"])
    .where("judgement.project", "=", project)
    .where("judgement.current", "=", 1)
    .where("task.withdrawn", "=", 0)
    .orderBy("judgement.at")
    .orderBy("judgement.id")
    .execute();
  return rows.map(({ answer, order, repeat, gold, ...row }) => {
    const parsed = parseAnswer(answer);
    return {
      ...row,
      answer: parsed,
      preferences: pairwisePreferences(parsed),
      order: JSON.parse(order),
      repeat: repeat === 1,
      gold: gold === null ? undefined : parseAnswer(gold),
    };
  });
}

/** Filters the judgements that count towards a task's overlap: not of gold tasks, not repeated, not skipped. */
export const countedJudgements = <T extends Judgement>(all: readonly T[]): T[] =>
  all.filter(({ gold, repeat, answer }) => !gold && !repeat && answer.skip === undefined);

/** Builds a key for a pair of completions of a task. */
export const pairKey = (
  task: string,
  { first, second }: Pick<PairwisePreference, "first" | "second">,
): string => `${task} ${first} ${second}`;

/** Returns the start of a prompt's last message, short enough for a table cell. */
export const promptExcerpt = (messages: readonly Message[]): string =>
  (messages.at(-1)?.content ?? "").slice(0, 200);

/** Whether a judgement of a gold task agrees with the known answer. */
export function isCorrect({
  gold,
  preferences,
  answer,
}: Pick<Judgement, "gold" | "preferences" | "answer">): boolean {
  return gold !== undefined && !answer.bothBad && preferences.length > 0 && isSameAnswer(gold, answer);
}

/** Whether two answers have the same preference for every pair, and the same ratings if both have ratings. */
export function isSameAnswer(a: Answer, b: Answer): boolean {
  return !answersDisagree([a, b]) && (!a.ratings || !b.ratings || haveSameEntries(a.ratings, b.ratings));
}

const haveSameEntries = (a: object, b: object): boolean =>
  JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
