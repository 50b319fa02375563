import { describe, expect, it } from "vitest";
import { type DType, ops, Rng, type Tensor, tensor } from "../tensor/index.ts";
import {
  type Bits,
  dequantise,
  dequantiseUnfused,
  normalFloat,
  quantise,
  quantisedLinear,
} from "./quantise.ts";

const generator = new Rng(2);
const random = (...shape: number[]): Tensor => ops.randn(shape, { generator });
const worst = (a: Tensor, b: Tensor): number => a.to("float64").sub(b.to("float64")).abs().max().item();
const bits: Bits[] = [8, 4];

describe("weights in fewer bits", () => {
  // The kernel rounds to its type: bfloat16 by 2⁻⁹ of a number under 8, float32 not at all, for both multiply once.
  it.each(
    bits.flatMap((count) => [[count, "bfloat16", 8 * 2 ** -9] as const, [count, "float32", 0] as const]),
  )("%i in %s: the kernel reads what libtorch's operators read", (count, dtype, tolerance) => {
    const narrow = quantise(random(37, 192), count);
    expect(narrow.values.shape).toEqual([37, (192 * count) / 8]);
    const got = dequantise(narrow, dtype);
    expect(got.dtype).toBe(dtype);
    expect(worst(got, dequantiseUnfused(narrow))).toBeLessThanOrEqual(tolerance);
  });

  it("8 bits: off by at most half a step of the block's largest, 1/254 of it", () => {
    const weight = random(10, 128);
    const largest = weight.view(10, 2, 64).abs().amax(-1, true).expand(10, 2, 64).reshape(10, 128);
    const off = dequantiseUnfused(quantise(weight, 8)).sub(weight).abs().div(largest);
    expect(off.max().item()).toBeLessThan(1 / 254 + 1e-6);
  });

  it("4 bits: every code of NormalFloat comes back, and what lies between goes to the nearer", () => {
    const row = [...normalFloat, ...new Array(48).fill(0)];
    const exact = tensor(row, { shape: [1, 64] }).mul(3);
    expect(worst(dequantiseUnfused(quantise(exact, 4)), exact)).toBeLessThan(1e-6);
    const between = row.map((code, i) => (i === 8 ? 0.119 : i === 9 ? 0.122 : code)); // half way: 0.1203
    const got = dequantiseUnfused(quantise(tensor(between, { shape: [1, 64] }), 4)).toArray();
    expect(got[8]).toBeCloseTo(normalFloat[8] as number, 6);
    expect(got[9]).toBeCloseTo(normalFloat[9] as number, 6);
  });

  it.each(bits)("%i: a block of zeros stays zeros", (count) => {
    expect(worst(dequantise(quantise(ops.zeros([2, 64]), count), "float32"), ops.zeros([2, 64]))).toBe(0);
  });

  // The oracle multiplies by the same rounded weights. 4e-3: bfloat16's rounding; 1e-6: a few of float32's.
  it.each(bits.flatMap((count) => [[count, "bfloat16", 4e-3] as const, [count, "float32", 1e-6] as const]))(
    "%i in %s: a linear layer and its input's gradient",
    (count, dtype, tolerance) => {
      const narrow = quantise(random(40, 128), count);
      for (const rows of [5, 80]) {
        const x = random(rows, 128).to(dtype);
        const g = random(rows, 40).to(dtype);
        const run = (as: DType) => {
          const leaf = x.to(as).detach().clone();
          leaf.requiresGrad = true;
          const y =
            as === "float64"
              ? ops.linear(leaf, dequantise(narrow, dtype).to("float64"))
              : quantisedLinear(leaf, narrow);
          y.mul(g.to(as)).sum().backward();
          return [y.detach(), leaf.grad as Tensor];
        };
        const wanted = run("float64");
        for (const [i, x] of run(dtype).entries()) {
          const off = x.to("float64").sub(wanted[i] as Tensor);
          const size = ops.linalg_vector_norm(wanted[i] as Tensor).item();
          expect(ops.linalg_vector_norm(off).item() / size).toBeLessThan(tolerance);
        }
      }
    },
  );
});
