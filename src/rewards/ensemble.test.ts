import { expect, it } from "vitest";
import { combineScores } from "./ensemble.ts";

// By hand from Coste et al. 2023, equations 1 to 3: of 1, 2 and 6 the mean is 3 and the variance (4 + 1 + 9) / 3.
it.each([
  ["mean", 3],
  ["worst", 1],
  ["penalised", 3 - (0.5 * 14) / 3],
] as const)("combines scores by %s", (combine, score) => {
  const combined = combineScores([1, 2, 6], { combine, penalty: 0.5 });
  expect(combined.score).toBeCloseTo(score, 12);
  expect(combined.disagreement).toBeCloseTo(Math.sqrt(14 / 3), 12);
});
