export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The value that is farthest from 1; 1 of none. */
export const farthestFromOne = (values: readonly number[]): number =>
  values.reduce((worst, value) => (Math.abs(value - 1) > Math.abs(worst - 1) ? value : worst), 1);

/** 0 for the lowest number, 1 for the next, equal for equal. */
export function denseRanks(numbers: readonly number[]): number[] {
  const sorted = [...new Set(numbers)].sort((a, b) => a - b);
  return numbers.map((number) => sorted.indexOf(number));
}
