import { mean } from "../statistics/numbers.ts";

/** Running mean and variance of a stream of numbers, merged batch by batch (Chan et al. 1979). */
export interface RunningMoments {
  count: number;
  mean: number;
  /** Sum of squared deviations from the mean. */
  m2: number;
}

/** Moments of no numbers. */
export const emptyMoments: RunningMoments = { count: 0, mean: 0, m2: 0 };

/** Returns the moments after adding a batch of numbers. */
export function mergeMoments(moments: RunningMoments, batch: readonly number[]): RunningMoments {
  if (!batch.length) return moments;
  const batchMean = mean(batch);
  const m2 = batch.reduce((sum, x) => sum + (x - batchMean) ** 2, 0);
  const count = moments.count + batch.length;
  const delta = batchMean - moments.mean;
  return {
    count,
    mean: moments.mean + (delta * batch.length) / count,
    m2: moments.m2 + m2 + (delta ** 2 * moments.count * batch.length) / count,
  };
}

/** Population standard deviation; 0 for no numbers. */
export const standardDeviation = (moments: RunningMoments): number =>
  moments.count ? Math.sqrt(moments.m2 / moments.count) : 0;
