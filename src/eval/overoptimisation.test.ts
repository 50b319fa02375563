import { describe, expect, it } from "vitest";
import { uniform } from "../statistics/random.ts";
import { fitCurve, type Optimisation } from "./overoptimisation.ts";

// Gao et al. 2023: coefficients of the proxies of three sizes, and the peaks that follow (α of RL is 0.384 for all).
const published = [
  { optimisation: "rl", alpha: 0.384, beta: 0.175, peak: 10.9 },
  { optimisation: "rl", alpha: 0.384, beta: 0.1371, peak: 36.7 },
  { optimisation: "rl", alpha: 0.384, beta: 0.1183, peak: 89.3 },
  { optimisation: "best-of-n", alpha: 0.4908, beta: 0.1198, peak: 4.2 },
  { optimisation: "best-of-n", alpha: 0.5991, beta: 0.1066, peak: 7.9 },
] as const;

const curve = (optimisation: Optimisation, alpha: number, beta: number) => (kl: number) => {
  const d = Math.sqrt(kl);
  return optimisation === "rl" ? d * (alpha - beta * Math.log(d)) : d * (alpha - beta * d);
};

/** Draws from about the normal distribution. */
const noise = (next: () => number) => Array.from({ length: 12 }, next).reduce((a, b) => a + b, -6);

describe("the fit of gold over KL", () => {
  it.each(published)("returns Gao's $optimisation coefficients α $alpha, β $beta", (truth) => {
    const { optimisation, alpha, beta, peak } = truth;
    const gold = curve(optimisation, alpha, beta);
    const points = Array.from({ length: 20 }, (_, i) => ({
      kl: ((i + 1) * 2 * peak) / 20,
      gold: gold(((i + 1) * 2 * peak) / 20),
    }));
    const fit = fitCurve(points, optimisation);
    expect(fit?.alpha.value).toBeCloseTo(alpha, 10);
    expect(fit?.beta.value).toBeCloseTo(beta, 10);
    expect(fit?.rSquared).toBeCloseTo(1, 10);
    expect(fit?.peakKl.value).toBeGreaterThan(peak - 0.06);
    expect(fit?.peakKl.value).toBeLessThan(peak + 0.06);
  });

  it("has intervals that hold the coefficients and the peak in 95 % of noisy curves", () => {
    const next = uniform(5);
    const runs = 400;
    for (const { optimisation, alpha, beta, peak } of published) {
      const gold = curve(optimisation, alpha, beta);
      const truePeak = optimisation === "rl" ? Math.exp(2 * (alpha / beta - 1)) : (alpha / (2 * beta)) ** 2;
      const covered = { alpha: 0, beta: 0, peak: 0 };
      for (let run = 0; run < runs; run++) {
        const points = Array.from({ length: 12 }, (_, i) => {
          const kl = ((i + 1) * 1.5 * peak) / 12;
          return { kl, gold: gold(kl) + 0.03 * noise(next) };
        });
        const fit = fitCurve(points, optimisation);
        if (!fit) throw new Error("no fit");
        const holds = ({ low, high }: { low: number; high: number }, value: number) =>
          Number(low <= value && value <= high);
        covered.alpha += holds(fit.alpha, alpha);
        covered.beta += holds(fit.beta, beta);
        covered.peak += holds(fit.peakKl, truePeak);
      }
      // 0.95 ± three standard errors of 400 runs, and the 0.01 by which the t quantile is approximate.
      for (const count of Object.values(covered)) {
        expect(count / runs).toBeGreaterThan(0.91);
        expect(count / runs).toBeLessThan(0.985);
      }
    }
  });

  it("does not know where the peak is before the curve bends", () => {
    const gold = curve("rl", 0.384, 0.1183);
    const next = uniform(6);
    const points = Array.from({ length: 10 }, (_, i) => ({
      kl: (i + 1) / 4,
      gold: gold((i + 1) / 4) + 0.05 * noise(next),
    }));
    expect(fitCurve(points, "rl")?.peakKl.high).toBe(Number.POSITIVE_INFINITY);
    expect(fitCurve(points.slice(0, 4), "rl")).toBeUndefined();
  });
});
