export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** Returns the value farthest from 1; 1 for an empty list. */
export const farthestFromOne = (values: readonly number[]): number =>
  values.reduce((worst, value) => (Math.abs(value - 1) > Math.abs(worst - 1) ? value : worst), 1);

/** Ranks numbers without gaps: 0 for the lowest, 1 for the next distinct one, equal numbers tied. */
export function denseRanks(numbers: readonly number[]): number[] {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  return numbers.map((number) => sorted.indexOf(number));
}
