import { mean } from "../statistics/numbers.ts";

// RewardBench 2's rule for its subset Ties (Malik et al. 2025): questions with one right answer, each beside a similar one
// with many, all of which should score alike, and above every wrong one.

/** Scores of the answers to a question. */
export interface TiesQuestion {
  /** Joins a question with one right answer ("ref") and one with many ("tied"). */
  pair: string;
  kind: "ref" | "tied";
  right: readonly number[];
  wrong: readonly number[];
}

/** Reads `ref:3` or `tied:3`; undefined for another id. */
export function readTiesId(id: unknown): Pick<TiesQuestion, "pair" | "kind"> | undefined {
  const [, kind, pair] = /^(ref|tied):(.+)$/.exec(String(id)) ?? [];
  return kind && pair ? { kind: kind as TiesQuestion["kind"], pair } : undefined;
}

/** How far the worst right answer is above the best wrong one. */
const margin = ({ right, wrong }: TiesQuestion): number => Math.min(...right) - Math.max(...wrong);

/** How far right answers are apart. */
const spread = ({ right }: TiesQuestion): number => Math.max(...right) - Math.min(...right);

/**
 * Computes the score of Ties: 0.3 of the share of tied questions of which every right answer scores above every wrong one,
 * 0.3 of that of the others, 0.2 of the pairs whose right answers differ less than they are above wrong ones, 0.2 of those
 * of which that holds for the other question's margin too, and 0.01 of the mean of tanh(the smaller margin / spread − 1).
 * It is 1.01 at most. A spread of 0 counts as the largest ratio.
 * @returns undefined without a pair
 */
export function tiesScore(questions: readonly TiesQuestion[]): number | undefined {
  const of = (kind: TiesQuestion["kind"]) => questions.filter((question) => question.kind === kind);
  const [single, tied] = [of("ref"), of("tied")];
  const pairs = tied.flatMap((many) => {
    const other = single.find(({ pair }) => pair === many.pair);
    return other
      ? [{ apart: spread(many), above: margin(many), both: Math.min(margin(many), margin(other)) }]
      : [];
  });
  if (!pairs.length) return undefined;
  const share = (conditions: readonly boolean[]) => mean(conditions.map(Number));
  const excess = ({ apart, both }: (typeof pairs)[number]) =>
    apart > 0 ? Math.tanh(both / apart - 1) : both > 0 ? 1 : -1;
  return (
    0.3 * share(tied.map((question) => margin(question) > 0)) +
    0.3 * share(single.map((question) => margin(question) > 0)) +
    0.2 * share(pairs.map(({ apart, above }) => above > apart)) +
    0.2 * share(pairs.map(({ apart, both }) => both > apart)) +
    0.01 * mean(pairs.map(excess))
  );
}
