import { expect, it } from "vitest";
import { calibratedEce } from "./calibration.ts";

it("expects the calibration error that chance makes", () => {
  // One bin: the mean absolute deviation of a binomial share, 2 ν C(n, ν) p^ν (1 − p)^(n − ν + 1) / n with ν = ⌊np⌋ + 1 (de
  // Moivre 1730). For p = 3/4 and n = 20: ν = 16, C(20, 16) = 4,845. The mean of 200 has a standard error of 0.004.
  const expected = (2 * 16 * 4845 * 0.75 ** 16 * 0.25 ** 5) / 20;
  expect(calibratedEce(new Array(20).fill(Math.log(3)))).toBeCloseTo(expected, 1.8);
  expect(calibratedEce(new Array(20).fill(-Math.log(3)))).toBeCloseTo(expected, 1.8);
  // Certain: no chance.
  expect(calibratedEce(new Array(20).fill(100))).toBeLessThan(1e-9);
  // Weights count: one pair in place of 20, |1 − 3/4| or |0 − 3/4|.
  const weights = [1, ...new Array(19).fill(0)];
  expect(calibratedEce(new Array(20).fill(Math.log(3)), weights)).toBeCloseTo(0.375, 1.2);
});
