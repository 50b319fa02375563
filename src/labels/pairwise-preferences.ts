import { denseRanks } from "../statistics/numbers.ts";
import type { Answer } from "./settings.ts";

/** What one judgement says about two completions, by their places, the lower first. */
export interface Verdict {
  first: number;
  second: number;
  /** Over 0 for the first, under 0 for the second, 0 for a tie: how much better, from −3.5 to 3.5 where asked. */
  preferred: number;
}

/** Every pair that an answer compares: all of a ranking's, one of a preference, none of what was skipped. */
export function verdicts(answer: Answer): Verdict[] {
  const { preference, bothBad, skip } = answer;
  if (skip !== undefined || bothBad) return [];
  if (preference !== undefined) return [{ first: 0, second: 1, preferred: 4.5 - preference }];
  const ranks = answer.ranks ?? ranksOf(answer.ratings ?? {});
  return ranks.flatMap((own, first) =>
    ranks.slice(first + 1).map((other, i) => ({
      first,
      second: first + 1 + i,
      preferred: Math.sign(other - own),
    })),
  );
}

/** Ranks of completions by their mean rating, 1 for the highest. @param ratings by criterion, one number a completion */
export function ranksOf(ratings: Record<string, readonly number[]>): number[] {
  const [first = [], ...others] = Object.values(ratings);
  const sums = first.map((rating, i) => others.reduce((sum, own) => sum + (own[i] as number), rating));
  return denseRanks(sums.map((sum) => -sum)).map((place) => place + 1);
}

/** Whether answers to one task differ in which of two completions is better, or in whether any is good. */
export function disagreement(answers: readonly Answer[]): boolean {
  const judged = answers.filter(({ skip }) => skip === undefined);
  if (new Set(judged.map(({ bothBad = false }) => bothBad)).size > 1) return true;
  const signs = new Map<string, number>();
  return judged.flatMap(verdicts).some(({ first, second, preferred }) => {
    const pair = `${first} ${second}`;
    const sign = Math.sign(preferred);
    const before = signs.get(pair) ?? sign;
    signs.set(pair, before);
    return before !== sign;
  });
}
