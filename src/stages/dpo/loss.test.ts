import { describe, expect, it } from "vitest";
import { expectClose, f64, goldenJson } from "../../../test/golden.ts";
import { tensor } from "../../tensor/index.ts";
import { ktoLoss, type PairOptions, pairLoss } from "./loss.ts";

// Expected values: TRL 1.16's own loss code (test/golden/make_trl.py), float64 on both sides. TRL's ORPO computes in
// float32 inside.
const { pairs, kto } = goldenJson("trl.json");
const count = pairs.lengths.length / 2;
const places = (from: number) =>
  tensor(
    [...Array(count).keys()].map((i) => from + i),
    { dtype: "int64" },
  );

function compute(options: Partial<PairOptions> & Pick<PairOptions, "loss">) {
  const policy = f64(pairs.policy);
  policy.requiresGrad = true;
  const completions = { policy, reference: f64(pairs.reference), lengths: f64(pairs.lengths) };
  const found = pairLoss(completions, places(0), places(count), f64(Array(count).fill(1 / count)), {
    beta: 0.1,
    labelSmoothing: 0,
    targetMargin: 0,
    ...options,
  });
  found.loss.backward();
  return { policy, ...found };
}

describe("losses of pairs", () => {
  it.each(["sigmoid", "hinge", "ipo", "robust"] as const)(
    "%s equals TRL's, with gradient and metrics",
    (loss) => {
      const { beta, labelSmoothing, ...expected } = pairs.losses[loss];
      const { policy, loss: found, metrics } = compute({ loss, beta, labelSmoothing });
      expect(found.item()).toBeCloseTo(expected.loss, 12);
      expectClose(policy.grad, expected.grad, 1e-12);
      const { weight, ...means } = metrics;
      expect(weight?.item()).toBeCloseTo(1, 12);
      for (const [name, value] of Object.entries(means))
        expect(value.item(), name).toBeCloseTo(expected.metrics[name], 6);
    },
  );

  it.each([
    ["conservative", { loss: "sigmoid", beta: 0.3, labelSmoothing: 0.1 }, 1e-12],
    ["simpo", { loss: "simpo", beta: 2, targetMargin: 0.7 }, 1e-12],
    ["orpo", { loss: "orpo", beta: 0.25 }, 1e-6],
  ] as const)("%s equals TRL's", (name, options, tolerance) => {
    const { policy, loss } = compute(options);
    expect(Math.abs(loss.item() - pairs.losses[name].loss)).toBeLessThan(tolerance);
    expectClose(policy.grad, pairs.losses[name].grad, tolerance);
  });

  it("weights pairs", () => {
    const completions = { policy: f64([-1, -2, -3]), reference: f64([-1, -1, -1]), lengths: f64([1, 1, 1]) };
    const int = (values: number[]) => tensor(values, { dtype: "int64" });
    const options = { loss: "sigmoid", beta: 1, labelSmoothing: 0, targetMargin: 0 } as const;
    const { loss } = pairLoss(completions, int([0, 0]), int([1, 2]), f64([0.75, 0.25]), options);
    // δ is 1 and 2: −log σ.
    expect(loss.item()).toBeCloseTo(
      0.75 * Math.log(1 + Math.exp(-1)) + 0.25 * Math.log(1 + Math.exp(-2)),
      12,
    );
  });
});

describe("KTO's loss", () => {
  it.each(["above", "below"] as const)(
    "equals TRL's where the KL is %s 0, with gradient and metrics",
    (where) => {
      const { good, kl, loss, grad, metrics: told, elsewhere } = kto[where];
      const mean = elsewhere.reduce((a: number, b: number) => a + b) / elsewhere.length;
      expect(kl).toBeCloseTo(Math.max(0, mean), 12);
      const policy = f64(pairs.policy);
      policy.requiresGrad = true;
      const completions = { policy, reference: f64(pairs.reference), lengths: f64(pairs.lengths) };
      const weights = f64(good.map(() => 1 / good.length));
      const options = { beta: 0.2, desirableWeight: 1.3, undesirableWeight: 0.8 };
      const found = ktoLoss(completions, f64(good), weights, kl, options);
      expect(found.loss.item()).toBeCloseTo(loss, 12);
      found.loss.backward();
      expectClose(policy.grad, grad, 1e-12);
      const { chosen, rejected, ...sides } = found.metrics;
      for (const [name, value] of Object.entries(sides)) {
        const side = name.endsWith("/chosen") ? chosen : rejected;
        expect(value.item() / (side?.item() ?? 0), name).toBeCloseTo(told[name], 9);
      }
    },
  );
});
