import { describe, expect, it } from "vitest";
import { expectClose, f64, goldenJson } from "../../../test/golden.ts";
import { policyGradientLoss, tokenWeights } from "./loss.ts";

// Expected values: TRL 1.16's own loss code (test/golden/make_trl.py), float64 on both sides.
const { gradients } = goldenJson("trl.json");

describe("the clipped policy gradient", () => {
  it.each([
    ["grpo", "token", "response"],
    ["drGrpo", "token", "constant"],
    ["dapo", "token", "batch"],
    ["gspo", "sequenceMean", "response"],
    ["rloo", "sequence", "response"],
  ] as const)("%s equals TRL's, with its gradient", (name, ratio, length) => {
    const expected = gradients.losses[name];
    const policy = f64(gradients.policy);
    policy.requiresGrad = true;
    const mask = f64(gradients.mask);
    const weights = tokenWeights(gradients.lengths, length, gradients.maxTokens);
    const { loss, metrics } = policyGradientLoss(
      { policy, old: f64(gradients.old), reference: f64(gradients.reference) },
      mask,
      f64(gradients.advantages),
      f64(weights).unsqueeze(1).mul(mask),
      { ratio, clipLow: expected.low, clipHigh: expected.high, klCoef: expected.klCoef },
    );
    expect(loss.item()).toBeCloseTo(expected.loss, 12);
    loss.backward();
    expectClose(policy.grad, expected.grad, 1e-12);
    expect(metrics.clipFraction?.item()).toBeGreaterThan(0);
  });
});

describe("weights of tokens", () => {
  // Two responses of 2 and 6 tokens, at most 8.
  it.each([
    ["response", [1 / 4, 1 / 12]],
    ["batch", [1 / 8, 1 / 8]],
    ["constant", [1 / 16, 1 / 16]],
  ] as const)("by %s", (length, expected) => {
    expect(tokenWeights([2, 6], length, 8)).toEqual(expected);
  });
  it("is 0 in a masked response; other responses change only with length=batch", () => {
    expect(tokenWeights([2, 0], "response", 8)).toEqual([1 / 4, 0]);
    expect(tokenWeights([2, 0], "batch", 8)).toEqual([1 / 2, 0]);
    expect(tokenWeights([2, 0], "constant", 8)).toEqual([1 / 16, 0]);
  });
});
