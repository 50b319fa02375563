import { mean } from "../statistics/numbers.ts";

/** Mean and population standard deviation of every score seen, merged batch by batch (Chan et al. 1979). */
export interface RunningMoments {
  count: number;
  mean: number;
  /** Sum of squared deviations from the mean. */
  m2: number;
}

export const emptyMoments: RunningMoments = { count: 0, mean: 0, m2: 0 };

export function mergeMoments(seen: RunningMoments, batch: readonly number[]): RunningMoments {
  if (!batch.length) return seen;
  const batchMean = mean(batch);
  const m2 = batch.reduce((sum, x) => sum + (x - batchMean) ** 2, 0);
  const count = seen.count + batch.length;
  const delta = batchMean - seen.mean;
  return {
    count,
    mean: seen.mean + (delta * batch.length) / count,
    m2: seen.m2 + m2 + (delta ** 2 * seen.count * batch.length) / count,
  };
}

export const standardDeviation = (moments: RunningMoments): number =>
  moments.count ? Math.sqrt(moments.m2 / moments.count) : 0;
