import type { Message } from "../data/records.ts";
import { disagreement, type Verdict, verdicts } from "./pairwise-preferences.ts";
import { type Answer, parseAnswer } from "./settings.ts";
import type { LabelStore } from "./store.ts";

/** A judgement that counts, with what it is about. */
export interface Judged {
  id: string;
  task: string;
  labeler: string;
  answer: Answer;
  /** Which stored completion each place showed. */
  order: number[];
  seconds: number;
  at: number;
  repeat: boolean;
  /** The file that it came from; null when it was made here. */
  source: string | null;
  /** The task's known answer. */
  gold: Answer | undefined;
  verdicts: Verdict[];
}

/** Judgements of a project that none has taken the place of, oldest first. */
export async function judgements(store: LabelStore, project: string): Promise<Judged[]> {
  const rows = await store.db
    .selectFrom("judgement")
    .innerJoin("task", "task.id", "judgement.task")
    .select(["judgement.id", "judgement.task", "judgement.labeler", "judgement.answer", "judgement.order"])
    .select(["judgement.seconds", "judgement.at", "judgement.repeat", "judgement.source", "task.gold"])
    .where("judgement.project", "=", project)
    .where("judgement.current", "=", 1)
    .orderBy("judgement.at")
    .orderBy("judgement.id")
    .execute();
  return rows.map(({ answer, order, repeat, gold, ...row }) => {
    const parsed = parseAnswer(answer);
    return {
      ...row,
      answer: parsed,
      verdicts: verdicts(parsed),
      order: JSON.parse(order),
      repeat: repeat === 1,
      gold: gold === null ? undefined : parseAnswer(gold),
    };
  });
}

/** Judgements that the overlap counts: not of known answers, not repeated, not skipped. */
export const counted = <T extends Judged>(all: readonly T[]): T[] =>
  all.filter(({ gold, repeat, answer }) => !gold && !repeat && answer.skip === undefined);

/** What names a pair of completions of a task. */
export const pairOf = (task: string, { first, second }: Verdict): string => `${task} ${first} ${second}`;

/** What a prompt asks last, cut to what a table's cell holds. */
export const excerpt = (messages: readonly Message[]): string =>
  (messages.at(-1)?.content ?? "").slice(0, 200);

/** Whether a judgement of a known answer prefers what is preferred there. */
export function isRight({
  gold,
  verdicts: said,
  answer,
}: Pick<Judged, "gold" | "verdicts" | "answer">): boolean {
  return gold !== undefined && !answer.bothBad && said.length > 0 && isSame(gold, answer);
}

/** Whether two answers prefer alike: for every pair the same one, and the same ratings where there are some. */
export function isSame(a: Answer, b: Answer): boolean {
  return !disagreement([a, b]) && (!a.ratings || !b.ratings || equal(a.ratings, b.ratings));
}

const equal = (a: object, b: object): boolean =>
  JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
