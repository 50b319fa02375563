import { describe, expect, it } from "vitest";
import { capabilities, type DType, ops, Rng, type Tensor } from "../tensor/index.ts";
import { embedding, rmsNorm, rotate, swiglu, unfused } from "./block.ts";
import { gatedLinear, linear } from "./linear.ts";

// Oracle: libtorch's operators in float64. A result in bfloat16 is off by its rounding, 2⁻⁹ a number at most, and so in
// norm; 4e-3 leaves room for a second one. In float32 1e-6 is some units in the last place.
const tolerance = { bfloat16: 4e-3, float32: 1e-6 };
const generator = new Rng(5);
const random = (...shape: number[]): Tensor => ops.randn(shape, { generator }).mul(3);

/** ‖a − b‖ / ‖b‖ */
function distance(a: Tensor | null, b: Tensor | null): number {
  const wanted = (b as Tensor).to("float64");
  const off = (a as Tensor).to("float64").sub(wanted);
  return ops.linalg_vector_norm(off).item() / ops.linalg_vector_norm(wanted).item();
}

/** Results and gradients of `fused` on inputs of this type, and of `oracle` on the same numbers in float64. */
function compare(
  dtype: DType,
  inputs: Tensor[],
  fused: (...of: Tensor[]) => Tensor,
  oracle: (...of: Tensor[]) => Tensor,
): number {
  const narrow = inputs.map((x) => x.to(dtype));
  const weights = random(...fused(...narrow).shape).to(dtype);
  const run = (as: DType, f: (...of: Tensor[]) => Tensor) => {
    const own = narrow.map((x) => {
      const leaf = x.to(as).detach().clone();
      leaf.requiresGrad = true;
      return leaf;
    });
    const y = f(...own);
    y.mul(weights.to(as)).sum().backward();
    return [y.detach(), ...own.map((x) => x.grad as Tensor)];
  };
  const wanted = run("float64", oracle);
  return Math.max(...run(dtype, fused).map((x, i) => distance(x, wanted[i] as Tensor)));
}

// Widths that fill no vector, and more rows than one thread takes.
describe.each(["bfloat16", "float32"] as const)("kernels in %s, with gradients", (dtype) => {
  it("rmsNorm", () => {
    const eps = 0.3;
    const [x, weight] = [random(130, 83), random(83)];
    const off = compare(
      dtype,
      [x, weight],
      (a, w) => rmsNorm(a, w, eps),
      (a, w) => unfused.rmsNorm(a, w, eps),
    );
    expect(off).toBeLessThan(tolerance[dtype]);
  });
  it("swiglu", () => {
    // −90 is where e^x leaves float32.
    const gate = random(70, 301);
    gate.narrow(1, 0, 2).fill_(-90);
    expect(compare(dtype, [gate, random(70, 301)], swiglu, unfused.swiglu)).toBeLessThan(tolerance[dtype]);
  });
  it("rotate", () => {
    const angles = ops.rand([50, 5], { generator }).mul(6);
    const both = ops.cat([ops.cos(angles), ops.sin(angles)], { dim: -1 });
    const turn = (f: typeof rotate) => (x: Tensor) => f(x, both);
    expect(compare(dtype, [random(50, 3, 10)], turn(rotate), turn(unfused.rotate))).toBeLessThan(
      tolerance[dtype],
    );
  });
  it("embedding with a tied head", () => {
    // 300 tokens of 90: rows come more than once.
    const ids = ops.randint(0, 90, [300], { generator, dtype: "int64" });
    const tied = (f: typeof embedding) => (table: Tensor, x: Tensor) =>
      ops.linear(f(table, ids).add(x), table);
    const inputs = [random(100, 50), random(300, 50)];
    const off = compare(dtype, inputs, tied(embedding), tied(ops.embedding as typeof embedding));
    expect(off).toBeLessThan(2 * tolerance[dtype]);
  });
  it("embedding alone, whose gradient is accumulated", () => {
    const ids = ops.randint(0, 90, [300], { generator, dtype: "int64" });
    const twice = (f: typeof embedding) => (table: Tensor) => {
      if (table.requiresGrad) f(table, ids).sum().backward();
      return f(table, ids);
    };
    const off = compare(dtype, [random(100, 50)], twice(embedding), twice(ops.embedding as typeof embedding));
    expect(off).toBeLessThan(2 * tolerance[dtype]);
  });
  it.each([7, 70])("gatedLinear of %i rows", (rows) => {
    const oracle = (gate: Tensor, up: Tensor, w: Tensor) => ops.linear(unfused.swiglu(gate, up), w);
    const inputs = [random(rows, 70), random(rows, 70), random(45, 70)];
    // The gated activations are rounded too.
    expect(compare(dtype, inputs, gatedLinear, oracle)).toBeLessThan(2 * tolerance[dtype]);
  });
  // More inputs and outputs than are added up in one go, odd numbers of each, and more rows than are taken at a time.
  it.each([
    [1, 70, 45],
    [3, 70, 45],
    [14, 33, 131],
    [65, 1701, 1601],
    [301, 1100, 100],
  ])("linear of %i rows, %i inputs and %i outputs", (rows, from, to) => {
    const oracle = (x: Tensor, w: Tensor, bias: Tensor) => ops.linear(x, w, { bias });
    const inputs = [random(rows, from), random(to, from), random(to)];
    // Sums of many products in float32 are off by more than one rounding.
    expect(compare(dtype, inputs, linear, oracle)).toBeLessThan(2 * tolerance[dtype]);
    const plainOracle = (x: Tensor, w: Tensor) => ops.linear(x, w);
    expect(compare(dtype, inputs.slice(0, 2), linear, plainOracle)).toBeLessThan(2 * tolerance[dtype]);
  });

  it("linear with a transposed weight, as GPT-2 has it", () => {
    const inputs = [random(130, 83), random(83, 45), random(45)];
    const off = compare(
      dtype,
      inputs,
      (x, w, bias) => linear(x, w.transpose(0, 1), bias),
      (x, w, bias) => ops.addmm(bias, x, w),
    );
    expect(off).toBeLessThan(2 * tolerance[dtype]);
  });
});

describe("linear in bfloat16", () => {
  const bf16 = (...shape: number[]) => random(...shape).to("bfloat16");
  /** The same numbers at an address that is no multiple of a vector, or of four bytes. */
  const unaligned = (x: Tensor): Tensor => {
    const room = ops.empty([x.numel + 1], { dtype: x.dtype });
    return room
      .narrow(0, 1, x.numel)
      .view(...x.shape)
      .copy_(x);
  };

  // Only our products promise it: libtorch's choose another order of sums for other batches.
  it.skipIf(!capabilities().fastBf16).each([
    [70, 45],
    [576, 49],
    [1701, 4],
  ])("gives a row the same bits in any batch: %i inputs, %i outputs", (from, to) => {
    const [x, weight] = [bf16(301, from), bf16(to, from)];
    const whole = linear(x, weight).toArray();
    for (const rows of [1, 2, 3, 4, 5, 7, 8, 9, 40]) {
      const part = linear(x.narrow(0, 301 - rows, rows), weight).toArray();
      expect(part).toEqual(whole.slice((301 - rows) * to));
    }
  });

  it("takes views at any address", () => {
    const [x, weight, bias] = [bf16(9, 70), bf16(45, 70), bf16(45)];
    const wanted = linear(x, weight, bias).toArray();
    expect(linear(unaligned(x), unaligned(weight), unaligned(bias)).toArray()).toEqual(wanted);
  });

  it("takes no rows, one row and one column", () => {
    expect(linear(bf16(0, 70), bf16(45, 70)).shape).toEqual([0, 45]);
    expect(
      linear(ops.full([1, 1], 3, { dtype: "bfloat16" }), ops.full([1, 1], 0.5, { dtype: "bfloat16" })).item(),
    ).toBe(1.5);
  });

  it("NaN and infinity reach the results of their row or output, and no other", () => {
    const [x, weight] = [bf16(9, 70), bf16(45, 70)];
    x.narrow(0, 2, 1).narrow(1, 69, 1).fill_(NaN);
    x.narrow(0, 4, 1).narrow(1, 3, 1).fill_(Infinity);
    weight.narrow(0, 44, 1).narrow(1, 0, 1).fill_(NaN);
    for (const [i, y] of linear(x, weight).toArray().entries()) {
      const [row, output] = [Math.floor(i / 45), i % 45];
      if (row === 2 || output === 44) expect(y).toBeNaN();
      else expect(Number.isFinite(y)).toBe(row !== 4);
    }
  });
});
