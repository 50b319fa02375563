import { expect, test } from "vitest";
import {
  collapse,
  criticExplainsNothing,
  fewComparisons,
  flatRewards,
  lowKlCoef,
  negativeKl,
  noEos,
  rolloutTrainerMismatch,
  scoresNotNormalised,
  type Warning,
} from "./warnings.ts";

test.each<[string, Warning[], Warning[]]>([
  ["few-comparisons", fewComparisons(4999), fewComparisons(5000)],
  ["low-kl-coef", lowKlCoef(0.009), lowKlCoef(0.01)],
  ["scores-not-normalised", scoresNotNormalised(false), scoresNotNormalised(true)],
  ["rollout-trainer-mismatch", rolloutTrainerMismatch(0.9, 0.01), rolloutTrainerMismatch(1.005, 0.01)],
  ["rollout-trainer-mismatch", rolloutTrainerMismatch(Number.NaN, 0.01), rolloutTrainerMismatch(1, 0)],
  ["negative-kl", negativeKl(-1.5), negativeKl(-0.5)],
  ["no-eos", noEos(0.51), noEos(0.5)],
  ["flat-rewards", flatRewards(0.91), flatRewards(0.9)],
])("%s speaks past its bound and not before", (code, past, before) => {
  expect(past.map((warning) => warning.code)).toEqual([code]);
  expect(before).toEqual([]);
});

test("messages contain the numbers", () => {
  expect(fewComparisons(123)[0]?.message).toContain("only 123 comparisons");
  expect(noEos(0.75)[0]?.message).toContain("75 %");
});

test("collapse needs length up, perplexity down and score up, over a full window", () => {
  const run = (steps: number, score: number, length: number, refPerplexity: number) =>
    Array.from({ length: steps }, (_, i) => ({
      score: 1 + score * i,
      length: 100 + length * i,
      refPerplexity: 50 + refPerplexity * i,
    }));
  expect(collapse(run(20, 0.1, 5, -2)).map((warning) => warning.code)).toEqual(["collapse"]);
  expect(collapse([...run(30, 0, 0, 0), ...run(20, 0.1, 5, -2)])).toHaveLength(1);
  expect(collapse(run(19, 0.1, 5, -2))).toEqual([]);
  expect(collapse(run(20, -0.01, 5, -2))).toEqual([]);
  expect(collapse(run(20, 0.1, 0, -2))).toEqual([]);
  expect(collapse(run(20, 0.1, 5, 0))).toEqual([]);
  expect(collapse([])).toEqual([]);
});

test("a critic is worse than a constant if it has been for 20 steps, not in steps that did not measure it", () => {
  const steps = (count: number, explainedVariance?: number) =>
    Array.from({ length: count }, () => ({
      ...{ score: 1, length: 1, refPerplexity: 1 },
      ...(explainedVariance !== undefined && { explainedVariance }),
    }));
  expect(criticExplainsNothing(steps(20, -0.1))).toHaveLength(1);
  expect(criticExplainsNothing(steps(19, -0.1))).toEqual([]);
  expect(criticExplainsNothing([...steps(1, 0.1), ...steps(19, -0.1)])).toEqual([]);
  expect(criticExplainsNothing([...steps(1), ...steps(19, -0.1)])).toEqual([]);
});
