import { uniform } from "./random.ts";
import { studentQuantile } from "./student.ts";

// 95 % intervals. What is resampled is a cluster: everything that depends on each other, such as the pairs of a task.

export interface Interval {
  value: number;
  /** Ends of the 95 % interval; NaN where there are too few clusters for one. */
  low: number;
  high: number;
}

/** Formats a value with its interval: "0.313 [0.276, 0.353]". */
export const formatInterval = ({ value, low, high }: Interval, digits = 3): string =>
  Number.isNaN(low)
    ? `${value.toFixed(digits)} [too few to say]`
    : `${value.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;

/** With fewer clusters there is no interval. */
export const minClusters = 5;
/** With fewer clusters the percentile bootstrap is too narrow, and Student's t takes its place. */
const minForBootstrap = 200;

/**
 * Computes a 95 % interval over clusters: by the percentile bootstrap (Efron 1979) from 200 on, by the jackknife's standard
 * error (Tukey 1958) and Student's t below, and none below 5. Samples for which `statistic` is NaN are left out.
 */
export function bootstrap<T>(
  clusters: readonly T[],
  statistic: (sample: readonly T[]) => number,
  seed = 0,
  resamples = 2000,
): Interval {
  const value = statistic(clusters);
  const n = clusters.length;
  if (n < minClusters) return { value, low: Number.NaN, high: Number.NaN };
  if (n < minForBootstrap)
    return jackknife(
      value,
      clusters.map((_, left) => statistic(clusters.filter((_, i) => i !== left))),
    );
  const next = uniform(seed);
  const values = Array.from({ length: resamples }, () =>
    statistic(clusters.map(() => clusters[Math.floor(next() * n)] as T)),
  )
    .filter((value) => !Number.isNaN(value))
    .sort((a, b) => a - b);
  const quantile = (q: number) =>
    values[Math.min(values.length - 1, Math.floor(q * values.length))] as number;
  return { value, low: quantile(0.025), high: quantile(0.975) };
}

/** @param leftOut the statistic without each cluster */
function jackknife(value: number, leftOut: readonly number[]): Interval {
  const values = leftOut.filter((value) => !Number.isNaN(value));
  const n = values.length;
  const centre = values.reduce((a, b) => a + b, 0) / n;
  const squares = values.reduce((sum, value) => sum + (value - centre) ** 2, 0);
  const half = studentQuantile(n - 1) * Math.sqrt(((n - 1) / n) * squares);
  return { value, low: value - half, high: value + half };
}

/**
 * Computes a share with its 95 % interval over clusters: Wilson's (1927) with the effective number of observations (Korn &
 * Graubard 1998), so that it also holds for few clusters, and where all are wins or none is.
 * @param clusters wins and observations of each; weights may be fractions
 */
export function shareInterval(clusters: readonly { wins: number; total: number }[]): Interval {
  const counted = clusters.filter(({ total }) => total > 0);
  const n = counted.length;
  const sum = (measure: (cluster: { wins: number; total: number }) => number) =>
    counted.reduce((total, cluster) => total + measure(cluster), 0);
  const total = sum((cluster) => cluster.total);
  const value = sum(({ wins }) => wins) / total;
  if (n < minClusters) return { value, low: Number.NaN, high: Number.NaN };
  const squares = sum(({ wins, total }) => (wins - value * total) ** 2);
  const variance = ((n / (n - 1)) * squares) / total ** 2;
  // Where all are equal the spread tells nothing, and each cluster counts as one observation.
  const effective = variance > 0 ? (value * (1 - value)) / variance : n;
  return wilson(value, effective * (1.959964 / studentQuantile(n - 1)) ** 2);
}

/** Computes Wilson's interval of a share of `n` observations. */
function wilson(share: number, n: number): Interval {
  const z = 1.959964;
  const centre = (share + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z * Math.sqrt((share * (1 - share)) / n + (z * z) / (4 * n * n))) / (1 + (z * z) / n);
  return { value: share, low: Math.max(0, centre - half), high: Math.min(1, centre + half) };
}
