import { bootstrap, type Interval, minClusters, shareInterval } from "./bootstrap.ts";
import { groupBy } from "./groups.ts";

// Statistics with their intervals over clusters, such as tasks.

/** A statistic with its 95 % interval, or the reason why it is undefined. */
export interface Estimate {
  value?: Interval;
  reason?: string;
}

/** Says that there are too few clusters for an interval. */
const tooFew = (clusters: number): string =>
  `too few to say: it needs ${minClusters} tasks, and has ${clusters}`;

/**
 * Estimates a statistic with its interval over clusters, such as tasks: see `bootstrap`. Samples in which it is undefined
 * are left out.
 */
export function estimate<T>(
  items: readonly T[],
  statistic: (sample: readonly T[]) => number | string,
): Estimate {
  const onAll = statistic(items);
  if (typeof onAll === "string") return { reason: onAll };
  if (items.length < minClusters) return { reason: tooFew(items.length) };
  const resamples = items.length > 2000 ? 200 : 1000;
  const orNaN = (sample: readonly T[]) => {
    const value = statistic(sample);
    return typeof value === "string" ? Number.NaN : value;
  };
  return { value: bootstrap(items, orNaN, 0, resamples) };
}

/** Number of values of an item, and their sum. */
export interface CountAndSum {
  count: number;
  sum: number;
}

export const countAndSum = (values: readonly number[]): CountAndSum => ({
  count: values.length,
  sum: values.reduce((a, b) => a + b, 0),
});

/** Returns a function that computes the mean of all items' values. @param reason result if there are no values */
export const pooledMean =
  (reason: string) =>
  (items: readonly CountAndSum[]): number | string => {
    let [count, sum] = [0, 0];
    for (const item of items) {
      count += item.count;
      sum += item.sum;
    }
    return count ? sum / count : reason;
  };

/**
 * Estimates a statistic of agreement of count rows, as `estimate` does. Thousands of rows have few distinct ones, so for
 * speed the statistic gets each distinct row once, with the number of times that it occurs.
 * @param clusterOf of each row, what it depends on with others: the task of a pair. Default: each row is one cluster
 */
export function estimateFromCounts(
  rows: readonly (readonly number[])[],
  statistic: (distinct: readonly (readonly number[])[], times: readonly number[]) => number | string,
  clusterOf: readonly unknown[] = rows.map((_, i) => i),
): Estimate {
  const keys = rows.map((row) => row.join());
  const distinct = [...new Map(rows.map((row, i) => [keys[i], row])).values()];
  const indexByKey = new Map(distinct.map((row, index) => [row.join(), index]));
  const indices = keys.map((key, i) => ({ cluster: clusterOf[i], index: indexByKey.get(key) as number }));
  const clusters = [...groupBy(indices, ({ cluster }) => cluster).values()];
  const countsOf = (sample: readonly (typeof indices)[]) => {
    const times = new Array<number>(distinct.length).fill(0);
    for (const cluster of sample)
      for (const { index } of cluster) times[index] = (times[index] as number) + 1;
    return times;
  };
  const onSample = (sample: readonly (typeof indices)[]) => {
    const times = countsOf(sample);
    const isDrawn = (_: unknown, index: number) => times[index] !== 0;
    return statistic(distinct.filter(isDrawn), times.filter(isDrawn));
  };
  const plain = estimate(clusters, onSample);
  const found =
    clusters.length < minForPlainInterval
      ? widerByRatio(
          plain,
          estimate(clusters, (sample) => {
            const agreement = onSample(sample);
            return typeof agreement === "string" ? agreement : Math.log(1 - agreement);
          }),
        )
      : plain;
  if (!found.value || found.value.high > found.value.low) return found;
  // Nobody disagrees: up to so many of the tasks might, with which none of n would be seen in 2.5 % of samples.
  const share = 1 - 0.025 ** (1 / clusters.length);
  const unseen = (rows.length * share) / (1 - share);
  const low = statistic([...distinct, halved(rows[0] as number[])], [...countsOf(clusters), unseen]);
  return { value: { ...found.value, low: typeof low === "string" ? Number.NaN : low } };
}

/** With fewer clusters the interval of a statistic of agreement is the wider one of two: see `widerByRatio`. */
const minForPlainInterval = 20;

/**
 * Widens the interval of a statistic of agreement to hold that of the logarithm of its ratio, 1 − agreement = D_o / D_e, too.
 * The ratio is positive and skewed, so that few clusters with little disagreement have too short an interval without it.
 * @param logRatio estimates log(1 − agreement); it is not finite where some samples have no disagreement
 */
function widerByRatio(plain: Estimate, logRatio: Estimate): Estimate {
  if (!plain.value) return plain;
  const { low = Number.NaN, high = Number.NaN } = logRatio.value ?? {};
  if (!Number.isFinite(low) || !Number.isFinite(high)) return plain;
  const { value } = plain.value;
  return {
    value: {
      value,
      low: Math.min(plain.value.low, 1 - Math.exp(high)),
      high: Math.max(plain.value.high, 1 - Math.exp(low)),
    },
  };
}

/** A row of as many ratings, half of them of the first value and half of the last. */
function halved(row: readonly number[]): number[] {
  const size = row.reduce((a, b) => a + b, 0);
  const first = Math.floor(size / 2);
  return row.map((_, i) => (i === 0 ? first : i === row.length - 1 ? size - first : 0));
}

/**
 * Estimates a win rate with its interval over tasks: see `shareInterval`.
 * @param wins of each task, 1 for a win, 0 for a loss, undefined for comparisons to ignore
 */
export function winRate(wins: readonly (readonly (number | undefined)[])[]): Estimate {
  const tasks = wins.map((task) => countAndSum(task.filter((win) => win !== undefined)));
  return estimateShare(tasks, "no comparison yet");
}

/**
 * Estimates a share with its interval over clusters: see `shareInterval`.
 * @param clusters values of 0 or 1 of each @param reason result if there are no values
 */
export function estimateShare(clusters: readonly CountAndSum[], reason: string): Estimate {
  const counted = clusters.filter(({ count }) => count);
  if (!counted.length) return { reason };
  if (counted.length < minClusters) return { reason: tooFew(counted.length) };
  return { value: shareInterval(counted.map(({ count, sum }) => ({ wins: sum, total: count }))) };
}
