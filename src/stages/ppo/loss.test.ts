import { describe, expect, it } from "vitest";
import { expectClose, f64, goldenJson } from "../../../test/golden.ts";
import { policyLoss, valueLoss } from "./loss.ts";

// Expected values: test/golden/make_losses.py, plain PyTorch in float64 after Schulman et al. 2017 and Ziegler et al. 2019.
const golden = goldenJson("losses.json");
const sum = (mask: number[][]) => mask.flat().reduce((a, b) => a + b, 0);

describe("the policy loss", () => {
  const { logprobs, oldLogprobs, advantages, mask, clip, loss, grad, clipFraction, approxKl, ratioMean } =
    golden.ppoPolicy;
  const compute = (rows: [number, number] = [0, mask.length]) => {
    const part = (values: number[][]) => f64(values.slice(...rows));
    const own = part(logprobs);
    own.requiresGrad = true;
    return { own, ...policyLoss(own, part(oldLogprobs), part(advantages), part(mask), clip, sum(mask)) };
  };
  it("equals the reference with its gradient and metrics", () => {
    const { own, loss: ours, metrics } = compute();
    expect(ours.item()).toBeCloseTo(loss, 9);
    ours.backward();
    expectClose(own.grad, grad, 1e-9);
    expect(metrics.clipFraction.item()).toBeCloseTo(clipFraction, 6);
    expect(metrics.approxKl.item()).toBeCloseTo(approxKl, 9);
    expect(metrics.ratio.item()).toBeCloseTo(ratioMean, 9);
  });
  it("is the sum of its micro-batches", () => {
    expect(compute([0, 1]).loss.item() + compute([1, mask.length]).loss.item()).toBeCloseTo(loss, 9);
  });
  it("ignores masked tokens", () => {
    const spoiled = logprobs.map((row: number[], i: number) => row.map((x, t) => (mask[i][t] ? x : 1e6)));
    expect(
      policyLoss(f64(spoiled), f64(oldLogprobs), f64(advantages), f64(mask), clip, sum(mask)).loss.item(),
    ).toBeCloseTo(loss, 9);
  });
});

describe("the value loss", () => {
  const { values, oldValues, returns, mask, clip, loss, grad, clipFraction } = golden.ppoValue;
  it("equals the reference with its gradient and clip fraction", () => {
    const own = f64(values);
    own.requiresGrad = true;
    const { loss: ours, metrics } = valueLoss(own, f64(oldValues), f64(returns), f64(mask), clip, sum(mask));
    expect(ours.item()).toBeCloseTo(loss, 9);
    ours.backward();
    expectClose(own.grad, grad, 1e-9);
    expect(metrics.clipFraction.item()).toBeCloseTo(clipFraction, 6);
  });
});
