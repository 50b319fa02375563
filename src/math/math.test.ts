import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { ops, Rng, type Tensor, tensor } from "../tensor/index.ts";
import {
  adaptKlCoef,
  bootstrap,
  calibration,
  emptyMoments,
  entropyOf,
  explainedVariance,
  gae,
  type KlEstimator,
  klEstimate,
  klFull,
  logprobsOf,
  maskedMean,
  maskedVariance,
  mergeMoments,
  standardDeviation,
  tokenRewards,
  tokenStatistics,
  whiten,
} from "./index.ts";

// Expected values: test/golden/make_losses.py, plain PyTorch in float64. We compute in float64 too where the function
// allows it, so 1e-9 leaves room for the order of sums only; float32 functions get 1e-5.
const golden = JSON.parse(readFileSync(new URL("../../test/golden/losses.json", import.meta.url), "utf8"));

type Nested = number | Nested[];
function shapeOf(values: Nested): number[] {
  return Array.isArray(values) ? [values.length, ...shapeOf(values[0] as Nested)] : [];
}
const flat = (values: Nested): number[] => (Array.isArray(values) ? (values.flat(9) as number[]) : [values]);
const f64 = (values: Nested): Tensor => tensor(flat(values), { shape: shapeOf(values), dtype: "float64" });
const i64 = (values: Nested): Tensor => tensor(flat(values), { shape: shapeOf(values), dtype: "int64" });

function expectClose(actual: Tensor | null, expected: Nested, tolerance = 1e-9): void {
  const values = (actual as Tensor).toArray();
  const wanted = flat(expected);
  expect(values.length).toBe(wanted.length);
  const worst = Math.max(...values.map((value, i) => Math.abs(value - (wanted[i] as number))));
  expect(worst).toBeLessThan(tolerance);
}

function leaf(values: Nested): Tensor {
  const made = f64(values);
  made.requiresGrad = true;
  return made;
}

describe("masked statistics", () => {
  const { x, mask, mean, var: variance, whitenShift, whitenNoShift } = golden.masked;
  it("equal the reference", () => {
    expectClose(maskedMean(f64(x), f64(mask)), mean);
    expectClose(maskedVariance(f64(x), f64(mask)), variance);
    expectClose(whiten(f64(x), f64(mask)), whitenShift);
    expectClose(whiten(f64(x), f64(mask), { shiftMean: false }), whitenNoShift);
  });
  it("explain the variance of returns", () => {
    const { values, returns, mask, value } = golden.explainedVariance;
    expectClose(explainedVariance(f64(values), f64(returns), f64(mask)), value);
  });
});

describe("log-probabilities", () => {
  it("equal the reference at a temperature, with their gradient", () => {
    const { logits, targets, temperature, logprobs, gradOfSum } = golden.logprobs;
    const input = leaf(logits);
    const actual = logprobsOf(input, i64(targets), temperature);
    expectClose(actual, logprobs);
    actual.sum().backward();
    expectClose(input.grad, gradOfSum);
  });
  it.each(["float32", "bfloat16"] as const)("in one pass over %s logits equal those of float64", (dtype) => {
    // A vocabulary that fills no vector, and rows far over exp's range.
    const [rows, vocab, temperature] = [5, 1003, 0.7];
    const wild = ops.mul(ops.randn([rows, vocab], { generator: new Rng(4) }), 6).to(dtype);
    const rowsOf = wild.toArray();
    rowsOf[0] = 20_000;
    rowsOf[vocab + 7] = -20_000;
    const logits = (kind: "float64" | typeof dtype) => {
      const made = tensor(rowsOf, { shape: [rows, vocab], dtype: kind });
      made.requiresGrad = true;
      return made;
    };
    const [exact, ours] = [logits("float64"), logits(dtype)];
    const best = exact.detach().argmax(-1).toArray();
    const targets = i64([best[0] as number, 17, best[2] as number, 1002, 0]);
    const weights = [1, -2, 0.5, 3, 1];
    const [wanted, found] = [
      tokenStatistics(exact, targets, temperature),
      tokenStatistics(ours, targets, temperature),
    ];
    // Float32 sums of 1,003 terms, of values up to 100.
    for (const name of ["logprobs", "entropy"] as const)
      expectClose(found[name], wanted[name].toArray(), 1e-4);
    expect(found.correct.toArray()).toEqual(wanted.correct.toArray());
    expect(found.correct.toArray().slice(0, 4)).toEqual([1, 0, 1, 0]);
    for (const { logprobs } of [wanted, found]) logprobs.to("float64").mul(f64(weights)).sum().backward();
    // bfloat16 keeps 8 bits of a gradient of up to 3 / 0.7.
    expectClose(ours.grad, (exact.grad as Tensor).toArray(), dtype === "float32" ? 1e-5 : 0.02);
  });
  it("are NaN when a logit is NaN, and give a logit of −∞ no weight", () => {
    const logits = tensor([0, NaN, 0, -Infinity], { shape: [2, 2] });
    const { logprobs, entropy } = tokenStatistics(logits, i64([0, 0]));
    expect(logprobs.toArray()).toEqual([NaN, 0]);
    expect(entropy.toArray()[1]).toBeCloseTo(0);
  });
  it("refuse a target that is not in the vocabulary", () => {
    expect(() => logprobsOf(tensor([0, 0], { shape: [1, 2] }), i64([2]))).toThrow(
      /target 2 .*vocabulary of 2/,
    );
  });
  it("entropy equals the reference, with its gradient", () => {
    const { logits, mask, value, mean, grad } = golden.entropy;
    const input = leaf(logits);
    const actual = entropyOf(input);
    expectClose(actual.mul(f64(mask)), value);
    const average = maskedMean(actual, f64(mask));
    expectClose(average, mean);
    average.backward();
    expectClose(input.grad, grad);
  });
});

describe("KL", () => {
  const { logprobs, refLogprobs, mask, estimators } = golden.kl;
  for (const name of ["k1", "k2", "k3", "abs"] as KlEstimator[])
    it(`${name} equals the reference, with its gradient`, () => {
      const input = leaf(logprobs);
      const actual = klEstimate(name, input, f64(refLogprobs));
      expectClose(actual.mul(f64(mask)), estimators[name].value);
      const average = maskedMean(actual, f64(mask));
      expectClose(average, estimators[name].mean);
      average.backward();
      expectClose(input.grad, estimators[name].grad);
    });
  it("k3 is never negative in float32, and exact to rounding where it is small", () => {
    const d = Array.from({ length: 2000 }, (_, i) => Math.fround((i % 2 ? 1 : -1) * 10 ** (-9 + i / 250)));
    const zero = ops.zeros([d.length]);
    const k3 = klEstimate("k3", tensor(d), zero).toArray();
    for (const [i, value] of k3.entries()) {
      const x = d[i] as number;
      expect(value).toBeGreaterThanOrEqual(0);
      // Below 1e-3 by its series, above by float64. Two roundings of numbers of |x|, 2⁻²⁴ each.
      const exact = Math.abs(x) < 1e-3 ? x ** 2 / 2 - x ** 3 / 6 + x ** 4 / 24 : Math.exp(-x) - 1 + x;
      expect(Math.abs(value - exact)).toBeLessThanOrEqual(2 ** -22 * Math.max(Math.abs(x), exact));
    }
  });
  it("full KL equals the reference, with its gradient", () => {
    const { logits, refLogits, mask, value, mean, grad } = golden.klFull;
    const input = leaf(logits);
    const actual = klFull(input, f64(refLogits));
    expectClose(actual.mul(f64(mask)), value);
    const average = maskedMean(actual, f64(mask));
    expectClose(average, mean);
    average.backward();
    expectClose(input.grad, grad);
  });
  it("the coefficient adapts as the reference's", () => {
    const { start, target, horizon, steps } = golden.adaptiveKl;
    let beta = start;
    for (const { kl, n, beta: expected } of steps) {
      beta = adaptKlCoef(beta, kl, target, n, horizon);
      expect(beta).toBeCloseTo(expected, 12);
    }
  });
});

describe("GAE", () => {
  const { kl, values, mask, lengths, scores, beta, rewards, cases } = golden.gae;
  it("rewards are the penalty, and the score at the last token", () => {
    expectClose(tokenRewards(f64(scores), f64(kl), f64(mask), i64(lengths), beta), rewards);
  });
  it.each(cases as Record<string, unknown>[])(
    "advantages and returns equal the reference (γ $gamma, λ $lambda)",
    (...args) => {
      const { gamma, lambda, advantages, returns } = args[0] as Record<string, unknown>;
      const actual = gae(f64(rewards), f64(values), f64(mask), gamma as number, lambda as number);
      expectClose(actual.advantages, advantages as Nested);
      expectClose(actual.returns, returns as Nested);
    },
  );
});

describe("statistics", () => {
  it("running moments equal the reference after every batch", () => {
    let seen = emptyMoments;
    for (const { scores, count, mean, std } of golden.runningNorm.batches) {
      seen = mergeMoments(seen, scores);
      expect(seen.count).toBe(count);
      expect(seen.mean).toBeCloseTo(mean, 10);
      expect(standardDeviation(seen)).toBeCloseTo(std, 10);
    }
  });
  it("calibration error equals the reference, bin by bin", () => {
    const { margins, firstPreferred, overHalf } = golden.calibration;
    const signed = margins.map((m: number, i: number) => (firstPreferred[i] ? m : -m));
    const { ece, bins } = calibration(signed);
    expect(ece).toBeCloseTo(overHalf.ece, 10);
    const expected = overHalf.bins.filter((bin: { count: number }) => bin.count);
    expect(bins.map((bin) => bin.count)).toEqual(expected.map((bin: { count: number }) => bin.count));
  });
  it("a 95 % bootstrap interval covers the true mean about as often", () => {
    // 200 samples of 40 uniform numbers: a right 95 % interval covers 0.5 in 180–199 of them (±3.5 sd).
    let covered = 0;
    for (let seed = 1; seed <= 200; seed++) {
      let state = seed * 7919;
      const sample = Array.from({ length: 40 }, () => {
        state = (state * 48271) % 2147483647;
        return state / 2147483647;
      });
      const { low, high } = bootstrap(sample, (s) => s.reduce((a, b) => a + b, 0) / s.length, seed, 400);
      if (low <= 0.5 && 0.5 <= high) covered++;
    }
    expect(covered).toBeGreaterThan(175);
    expect(covered).toBeLessThan(200);
  });
});
