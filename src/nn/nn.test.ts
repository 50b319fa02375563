import { describe, expect, it } from "vitest";
import { expectClose, f64, goldenJson, type Nested } from "../../test/golden.ts";
import { cat, memory, ops, Rng, scope, type Tensor, tensor } from "../tensor/index.ts";
import { AdamW, joinMaster, splitMaster } from "./adamw.ts";
import { scheduleFactor } from "./schedule.ts";

// Expected values: test/golden/make_losses.py, torch.optim.AdamW and transformers' schedules in float64. We step in
// float32, so 1e-5 over 10 steps.
const golden = goldenJson("losses.json");
const leaf = (values: Nested): Tensor => {
  const made = f64(values).to("float32");
  made.requiresGrad = true;
  return made;
};
/** Gives a parameter this gradient, through autograd. */
const push = (parameter: Tensor, gradient: Tensor) =>
  parameter.mul(gradient.to(parameter.dtype)).sum().backward();

describe("AdamW", () => {
  it("takes the same 10 steps as torch's", () => {
    const { betas, eps, weightDecay, start, steps } = golden.adamw;
    // torch's decays vectors too, ours only matrices: as one row a vector is a matrix.
    const matrix = (values: Nested[]): Nested => (typeof values[0] === "number" ? [values] : values);
    const parameters = start.map((values: Nested[]) => leaf(matrix(values))) as Tensor[];
    const optimizer = new AdamW(new Map(parameters.map((p, i) => [`p${i}`, p])), { betas, eps, weightDecay });
    for (const { lr, grads, params } of steps) {
      parameters.forEach((p, i) => push(p, f64(matrix(grads[i])).to("float32")));
      optimizer.step(lr);
      parameters.forEach((p, i) => expectClose(p, params[i], 1e-5));
    }
  });

  it.each(golden.clipGradNorm as { maxNorm: number; grads: Nested[]; norm: number; clipped: Nested[] }[])(
    "clips by the norm of all gradients at $maxNorm",
    (one) => {
      const { maxNorm, grads, norm, clipped } = one;
      // With β₁ = 0 the first moment after a step is the clipped gradient itself.
      const parameters = grads.map((g) => leaf(typeof g === "number" ? 0 : f64(g).mul(0).toArray()));
      const optimizer = new AdamW(new Map(parameters.map((p, i) => [`p${i}`, p])), { betas: [0, 0.999] });
      parameters.forEach((p, i) =>
        push(
          p,
          f64(grads[i] as Nested)
            .to("float32")
            .reshape(-1),
        ),
      );
      expect(optimizer.step(0, maxNorm)).toBeCloseTo(norm, 4);
      parameters.forEach((_, i) =>
        expectClose(optimizer.state().get(`m.p${i}`) as Tensor, clipped[i] as Nested, 1e-5),
      );
    },
  );

  it("moves bfloat16 weights by rates far below their spacing", () => {
    const weight = tensor([1, 1, 1, 1], { dtype: "bfloat16" });
    weight.requiresGrad = true;
    const optimizer = new AdamW(new Map([["w", weight]]));
    // bfloat16 is spaced by 1/128 above 1 and 1/256 below: 3,000 steps of 1e-6 move it once.
    for (let i = 0; i < 3000; i++) {
      scope(() => push(weight, tensor([1, 1, 1, 1])));
      optimizer.step(1e-6);
    }
    const low = optimizer.state().get("low.w") as Tensor;
    expect(scope(() => joinMaster(weight, low).toArray()[0])).toBeCloseTo(1 - 3000e-6, 4);
    expect(weight.toArray()[0]).toBe(1 - 1 / 256);
  });

  it("steps a bfloat16 weight's float32 master as it steps a float32 weight", () => {
    const generator = new Rng(1);
    const start = ops.randn([30, 100], { generator }).to("bfloat16");
    const weights = [start.clone(), start.to("float32")] as const;
    const [split, whole] = weights.map((weight) => {
      weight.requiresGrad = true;
      return new AdamW(new Map([["w", weight]]), { weightDecay: 0.1 });
    }) as [AdamW, AdamW];
    for (let i = 0; i < 10; i++) {
      const gradient = ops.randn([30, 100], { generator }).to("bfloat16");
      for (const weight of weights) push(weight, gradient);
      // The norm, and so the clipping, is computed from bfloat16 gradients in both.
      expect(split.step(1e-3, 10)).toBeCloseTo(whole.step(1e-3, 10), 3);
    }
    const [narrow, exact] = weights;
    const low = split.state().get("low.w") as Tensor;
    // The same arithmetic in another order: ten roundings of float32 for values up to 4.
    expectClose(joinMaster(narrow, low), exact, 5e-6);
    expect(narrow.toArray()).toEqual(joinMaster(narrow, low).to("bfloat16").toArray());
  });

  it("splits a float32 master into its nearest bfloat16 and the rest, without loss", () => {
    scope(() => {
      const master = ops.randn([5000], { generator: new Rng(2) }).mul(tensor([1e-30]).pow(0.5));
      const both = cat([master, ops.randn([5000], { generator: new Rng(3) }), tensor([0, -0, 1, -1, 3e38])]);
      const { parameter, low } = splitMaster(both);
      expect(joinMaster(parameter, low).toArray()).toEqual(both.toArray());
      expect(parameter.toArray()).toEqual(both.to("bfloat16").toArray());
    });
  });

  it("resumes from its saved state with identical steps", () => {
    const run = (stopAt: number) => {
      const weight = tensor([0.5, -0.3, 0.8]).to("bfloat16");
      weight.requiresGrad = true;
      let optimizer = new AdamW(new Map([["w", weight]]));
      for (let i = 0; i < 10; i++) {
        if (i === stopAt) {
          const saved = new Map([...optimizer.state()].map(([name, t]) => [name, t.clone()]));
          optimizer = new AdamW(new Map([["w", weight]]));
          optimizer.load(saved);
        }
        push(weight, tensor([Math.sin(i), Math.cos(i), 0.1]));
        optimizer.step(0.01);
      }
      return weight.toArray();
    };
    expect(run(5)).toEqual(run(-1));
  });

  it("changes no weight if a gradient is not finite, and frees its tensors", () => {
    const weight = leaf([1, 2]);
    const optimizer = new AdamW(new Map([["w", weight]]));
    scope(() => push(weight, tensor([Number.NaN, 1])));
    expect(optimizer.step(0.1, 1)).toBeNaN();
    expect(weight.toArray()).toEqual([1, 2]);
    const before = memory().handles;
    for (let i = 0; i < 3; i++) {
      scope(() => push(weight, tensor([1, 1])));
      optimizer.step(0.1, 1);
    }
    expect(memory().handles).toBe(before);
    expect(weight.grad).toBeNull();
  });
});

it.each(["constant", "linear", "cosine"] as const)("the %s schedule equals transformers'", (schedule) => {
  const { steps, warmup } = golden.schedules;
  const factors = Array.from({ length: steps }, (_, step) => scheduleFactor(schedule, step, steps, warmup));
  factors.forEach((factor, i) => expect(factor).toBeCloseTo(golden.schedules[schedule][i], 9));
});
