import { expect, it } from "vitest";
import { uniform } from "../statistics/random.ts";
import { bestOfN, bestOfNCurve, bestOfNKlBound, type ScoredSample } from "./best-of-n.ts";

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

it("has a curve for every n from one sampling: the best of n uniform scores is n / (n + 1) on average", () => {
  const next = uniform(7);
  const samples = Array.from({ length: 400 }, () =>
    Array.from({ length: 16 }, () => {
      const proxy = next();
      // Gold follows the proxy up to a half and falls then.
      return { proxy, gold: proxy < 0.5 ? proxy : 1 - proxy };
    }),
  );
  const curve = bestOfNCurve(samples);
  expect(curve.map(({ n }) => n)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
  // The standard error of 400 means of a best of n is below 0.29 / √400 = 0.015: three of them.
  for (const { n, proxy } of curve) expect(Math.abs(proxy.value - n / (n + 1))).toBeLessThan(0.045);
  const [one, last] = [curve[0], curve[15]];
  expect(one?.goldGain?.value).toBe(0);
  expect(last?.goldGain?.value).toBeCloseTo((last?.gold?.value ?? 0) - (one?.gold?.value ?? 0), 12);
  // E of gold: 1/4 for one sample; ∫ (1 − x) 16 x¹⁵ dx = 1/17 for the best of 16, but for a half to the 16th.
  expect(one?.gold?.low).toBeLessThan(0.25);
  expect(one?.gold?.high).toBeGreaterThan(0.25);
  expect(last?.goldGain?.high).toBeLessThan(0);
  expect(bestOfNCurve(samples.map((all) => all.map(({ proxy }) => ({ proxy }))))[3]?.gold).toBeUndefined();
});
