import { denseRanks } from "../statistics/numbers.ts";
import type { Answer } from "./settings.ts";

/** One judgement's preference between two completions of a task, given by their stored positions; `first` < `second`. */
export interface PairwisePreference {
  first: number;
  second: number;
  /**
   * Positive if the first is preferred, negative if the second, 0 for a tie. On the scale of a `pairwise` project it runs
   * from −3.5 to 3.5; of rankings and ratings it is −1, 0 or 1.
   */
  margin: number;
}

/** Lists the pairs that an answer compares: all of a ranking or ratings, one of a preference, none of a skipped task. */
export function pairwisePreferences(answer: Answer): PairwisePreference[] {
  const { preference, bothBad, skip } = answer;
  if (skip !== undefined || bothBad) return [];
  if (preference !== undefined) return [{ first: 0, second: 1, margin: 4.5 - preference }];
  const ranks = answer.ranks ?? ranksFromRatings(answer.ratings ?? {});
  return ranks.flatMap((rank, first) =>
    ranks.slice(first + 1).map((other, i) => ({
      first,
      second: first + 1 + i,
      margin: Math.sign(other - rank),
    })),
  );
}

/** Ranks completions by their mean rating, 1 for the highest. @param ratings by criterion, one number for each completion */
export function ranksFromRatings(ratings: Record<string, readonly number[]>): number[] {
  const [first = [], ...others] = Object.values(ratings);
  const sums = first.map((rating, i) =>
    others.reduce((sum, criterion) => sum + (criterion[i] as number), rating),
  );
  return denseRanks(sums.map((sum) => -sum)).map((rank) => rank + 1);
}

/** Whether answers to one task prefer different completions of a pair, or only some of them call all completions bad. */
export function answersDisagree(answers: readonly Answer[]): boolean {
  const judged = answers.filter(({ skip }) => skip === undefined);
  if (new Set(judged.map(({ bothBad = false }) => bothBad)).size > 1) return true;
  const signs = new Map<string, number>();
  return judged.flatMap(pairwisePreferences).some(({ first, second, margin }) => {
    const pair = `${first} ${second}`;
    const sign = Math.sign(margin);
    const firstSign = signs.get(pair) ?? sign;
    signs.set(pair, firstSign);
    return firstSign !== sign;
  });
}
