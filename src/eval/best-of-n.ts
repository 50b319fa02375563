import { groupBy } from "../statistics/groups.ts";

/** A sampled answer to one prompt. */
export interface ScoredSample {
  /** What the best of n is chosen by. */
  proxy: number;
  /** What is measured of it. */
  gold: number;
}

/**
 * Estimates the gold score of the best of n samples by the proxy, without bias from N ≥ n samples of one prompt: the mean
 * over all subsets of n, in which the i-th lowest of N is best in C(i−1, n−1) (Nakano et al. 2021, appendix I). Samples of
 * equal proxy are equally likely to be taken.
 * @param samples of one prompt @param n how many are chosen from; at most as many as there are samples
 */
export function bestOfN(samples: readonly ScoredSample[], n: number): number {
  const total = samples.length;
  // Share of the subsets of n that lie within the lowest `count`: C(count, n) / C(total, n).
  const within = (count: number): number => {
    let share = 1;
    for (let k = 0; k < n; k++) share *= Math.max(0, count - k) / (total - k);
    return share;
  };
  const groups = [...groupBy(samples, ({ proxy }) => proxy)].sort(([a], [b]) => a - b);
  let below = 0;
  let expected = 0;
  for (const [, tied] of groups) {
    const upTo = below + tied.length;
    const gold = tied.reduce((sum, sample) => sum + sample.gold, 0) / tied.length;
    expected += (within(upTo) - within(below)) * gold;
    below = upTo;
  }
  return expected;
}

/** Upper bound, in nats, of the KL from the model to its best of n (Beirami et al. 2024, theorem 1). */
export const bestOfNKlBound = (n: number): number => Math.log(n) - (n - 1) / n;
