import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { bradleyTerry } from "./bradley-terry.ts";
import { lengthControlledWinRate, publishedWinRate } from "./length-control.ts";
import { fitLogistic } from "./logistic.ts";

const golden = (name: string) =>
  JSON.parse(readFileSync(new URL(`../../test/golden/${name}.json`, import.meta.url), "utf8"));

// test/golden/make_eval.py
const { regressions, ratings, lengths } = golden("eval") as {
  regressions: {
    x: number[][];
    y: number[];
    clusters: number[];
    coefficients: number[];
    covariance: number[][];
  }[];
  ratings: { pairs: [number, number][]; y: number[]; relative: number[]; errors: number[] }[];
  lengths: { difference: number[]; preference: number[]; win_rate: number }[];
};

describe("logistic regression", () => {
  it.each(regressions)("has statsmodels' coefficients and cluster-robust covariances", (table) => {
    const { x, y, clusters } = table;
    const found = fitLogistic(
      x.map((features, i) => ({ features, outcome: y[i] as number, cluster: clusters[i] })),
      table.coefficients.map(() => 0),
    );
    for (const [i, coefficient] of table.coefficients.entries()) {
      expect(found.coefficients[i]).toBeCloseTo(coefficient, 8);
      for (const [j, value] of (table.covariance[i] as number[]).entries())
        expect(found.covariance[i]?.[j]).toBeCloseTo(value, 8);
    }
  });

  it.each(ratings)("gives ratings and their sandwich errors", ({ pairs, y, relative, errors }) => {
    const { difference } = bradleyTerry(
      pairs.map(([first, second], i) => ({
        first: String(first),
        second: String(second),
        outcome: y[i] as number,
      })),
    );
    // The ridge of 1e-5, which the reference lacks, moves the sixth digit.
    for (const [i, value] of relative.entries()) {
      const found = difference(String(i + 1), "0");
      expect(found.value).toBeCloseTo(value, 4);
      expect((found.high - found.low) / 2 / 1.959964).toBeCloseTo(errors[i] as number, 4);
    }
  });
});

describe("the length-controlled win rate", () => {
  it.each(lengths)("has scikit-learn's fit", ({ difference, preference, win_rate }) => {
    const found = lengthControlledWinRate(
      difference.map((lengthDifference, i) => ({
        lengthDifference,
        preference: preference[i] as number,
        prompt: i,
      })),
    );
    expect(found.value).toBeCloseTo(win_rate, 5);
    expect(found.low).toBeLessThan(win_rate);
    expect(found.high).toBeGreaterThan(win_rate);
  });

  it("of AlpacaEval 2's published weights is the published one", () => {
    // Dubois et al. 2024; weights and leaderboard of github.com/tatsu-lab/alpaca_eval (Apache-2.0).
    const { difficulties, models } = golden("alpaca-eval") as {
      difficulties: number[];
      models: { name: string; model: number; difficulty: number; published: number }[];
    };
    for (const { name, published, ...weights } of models)
      expect(100 * publishedWinRate(weights, difficulties), name).toBeCloseTo(published, 2);
  });
});
