import { expect, it } from "vitest";
import { uniform } from "../statistics/random.ts";
import { bestOfN, bestOfNKlBound, type ScoredSample } from "./best-of-n.ts";

/** All subsets of n. */
const subsets = (samples: readonly ScoredSample[], n: number): ScoredSample[][] =>
  n === 0
    ? [[]]
    : samples.flatMap((sample, i) => subsets(samples.slice(i + 1), n - 1).map((rest) => [sample, ...rest]));

it("is the mean over all subsets, by enumeration, with ties", () => {
  const next = uniform(3);
  for (const values of [1000, 3])
    for (const size of [1, 2, 5, 8]) {
      const samples = Array.from({ length: size }, () => ({
        proxy: Math.floor(values * next()),
        gold: next(),
      }));
      for (let n = 1; n <= size; n++) {
        const all = subsets(samples, n).map((subset) => {
          const best = Math.max(...subset.map(({ proxy }) => proxy));
          const tied = subset.filter(({ proxy }) => proxy === best);
          return tied.reduce((sum, { gold }) => sum + gold, 0) / tied.length;
        });
        const mean = all.reduce((a, b) => a + b, 0) / all.length;
        expect(bestOfN(samples, n)).toBeCloseTo(mean, 12);
      }
    }
});

it("bounds the KL: 0 for one, and as published for 8", () => {
  expect(bestOfNKlBound(1)).toBe(0);
  expect(bestOfNKlBound(8)).toBeCloseTo(1.204, 3);
});
