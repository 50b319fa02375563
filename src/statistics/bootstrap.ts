import { uniform } from "./random.ts";

export interface Interval {
  value: number;
  low: number;
  high: number;
}

/**
 * A 95 % interval by the percentile bootstrap (Efron 1979): `statistic` of 2,000 resamples of the items. Those of which it
 * is NaN are left out.
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
  const at = (q: number) => values[Math.min(values.length - 1, Math.floor(q * values.length))] as number;
  return { value: statistic(items), low: at(0.025), high: at(0.975) };
}
