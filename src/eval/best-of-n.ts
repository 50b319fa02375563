import { bootstrap, type Interval } from "../statistics/bootstrap.ts";
import { groupBy } from "../statistics/groups.ts";
import { mean } from "../statistics/numbers.ts";

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

/** What choosing the best of n by the proxy brings. Intervals are 95 %, over prompts. */
export interface BestOfNPoint {
  n: number;
  /** Upper bound, in nats, of the KL from the model to its best of n: see `bestOfNKlBound`. */
  klBound: number;
  proxy: Interval;
  gold?: Interval;
  /** Gold, less that of one sample to the same prompt. */
  goldGain?: Interval;
}

/**
 * Estimates proxy and gold of the best of n for every n, from one sampling.
 * @param prompts samples of each prompt, equally many; all with a gold score, or none
 */
export function bestOfNCurve(
  prompts: readonly (readonly { proxy: number; gold?: number }[])[],
): BestOfNPoint[] {
  const most = prompts[0]?.length ?? 0;
  const hasGold = prompts[0]?.[0]?.gold !== undefined;
  const expected = (n: number, measure: (sample: { proxy: number; gold?: number }) => number) =>
    prompts.map((samples) =>
      bestOfN(
        samples.map((sample) => ({ proxy: sample.proxy, gold: measure(sample) })),
        n,
      ),
    );
  const goldOf = ({ gold }: { gold?: number }) => gold as number;
  const goldsOfOne = hasGold ? expected(1, goldOf) : [];
  return Array.from({ length: most }, (_, i): BestOfNPoint => {
    const n = i + 1;
    const golds = hasGold ? expected(n, goldOf) : [];
    return {
      n,
      klBound: bestOfNKlBound(n),
      proxy: bootstrap(
        expected(n, ({ proxy }) => proxy),
        mean,
      ),
      ...(hasGold && {
        gold: bootstrap(golds, mean),
        goldGain: bootstrap(
          golds.map((gold, prompt) => gold - (goldsOfOne[prompt] as number)),
          mean,
        ),
      }),
    };
  });
}
