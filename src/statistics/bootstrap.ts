import { uniform } from "./random.ts";

export interface Interval {
  value: number;
  low: number;
  high: number;
}

/**
 * Computes a 95 % interval by the percentile bootstrap (Efron 1979) over resamples of the items. Resamples for which
 * `statistic` is NaN are left out.
 */
export function bootstrap<T>(
  items: readonly T[],
  statistic: (sample: readonly T[]) => number,
  seed = 0,
  resamples = 2000,
): Interval {
  const next = uniform(seed);
  const values = Array.from({ length: resamples }, () =>
    statistic(items.map(() => items[Math.floor(next() * items.length)] as T)),
  )
    .filter((value) => !Number.isNaN(value))
    .sort((a, b) => a - b);
  const quantile = (q: number) =>
    values[Math.min(values.length - 1, Math.floor(q * values.length))] as number;
  return { value: statistic(items), low: quantile(0.025), high: quantile(0.975) };
}
