export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Whether a value is a number that float32 holds as a finite one: of at most 3.4e38. */
export const isFiniteFloat32 = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(Math.fround(value));

/** Computes the median: the mean of the two middle values where their number is even. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle - 1)] as number) + (sorted[Math.floor(middle)] as number)) / 2;
}

/** Returns the value farthest from 1; 1 for an empty list. */
export const farthestFromOne = (values: readonly number[]): number =>
  values.reduce((worst, value) => (Math.abs(value - 1) > Math.abs(worst - 1) ? value : worst), 1);

/** Ranks numbers without gaps: 0 for the lowest, 1 for the next distinct one, equal numbers tied. */
export function denseRanks(numbers: readonly number[]): number[] {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  return numbers.map((number) => sorted.indexOf(number));
}

/**
 * Ranks scores, 1 for the highest; those that differ by at most `margin` tie. Ties are with the highest score of a rank, so
 * that a chain of small differences does not make all scores equal.
 */
export function ranksWithTies(scores: readonly number[], margin: number): number[] {
  const order = scores.map((_, i) => i).sort((a, b) => (scores[b] as number) - (scores[a] as number));
  const ranks = scores.map(() => 1);
  let best = order[0] ?? 0;
  for (const [position, i] of order.entries()) {
    if ((scores[best] as number) - (scores[i] as number) > margin) best = i;
    ranks[i] = best === i ? position + 1 : (ranks[best] as number);
  }
  return ranks;
}
