import { describe, expect, it } from "vitest";
import { capabilities, cat, type DType, ops, Rng, type Tensor } from "../tensor/index.ts";
import { attentionBySequence, packedAttention } from "./attention.ts";

const generator = new Rng(3);
const distance = (a: Tensor, b: Tensor): number =>
  ops.linalg_vector_norm(a.to("float64").sub(b)).item() / ops.linalg_vector_norm(b).item();

/** Attended, and the gradients of queries, keys and values. */
function run(
  attend: ReturnType<typeof packedAttention>,
  inputs: readonly Tensor[],
  weights: Tensor,
  dtype: DType,
): Tensor[] {
  const leaves = inputs.map((x) => {
    const leaf = x.to(dtype).detach().clone();
    leaf.requiresGrad = true;
    return leaf;
  });
  const [q, k, v] = leaves as [Tensor, Tensor, Tensor];
  const out = attend(0, q, k, v);
  out.mul(weights.to(dtype)).sum().backward();
  return [out.detach(), ...leaves.map((x) => x.grad as Tensor)];
}

const cases = [
  {
    name: "sequences",
    prefix: 0,
    lengths: [37, 100, 5, 64],
    branches: [],
    window: Infinity,
    heads: [9, 3, 64],
  },
  {
    name: "branches",
    prefix: 0,
    lengths: [137, 40],
    branches: [[20, 30, 1], []],
    window: Infinity,
    heads: [4, 4, 32],
  },
  {
    name: "a window",
    prefix: 0,
    lengths: [200, 90],
    branches: [[50, 60], []],
    window: 33,
    heads: [4, 2, 32],
  },
  {
    name: "heads that fill no vector",
    prefix: 0,
    lengths: [2],
    branches: [],
    window: Infinity,
    heads: [2, 1, 80],
  },
  {
    name: "a prefix",
    prefix: 80,
    lengths: [40, 70, 1],
    branches: [[20, 10], []],
    window: Infinity,
    heads: [4, 2, 32],
  },
  {
    name: "a prefix and a window",
    prefix: 48,
    lengths: [40, 70],
    branches: [[20, 10], [1]],
    window: 33,
    heads: [4, 2, 32],
  },
] as const;

// Oracle: libtorch's attention in float64, sequence by sequence under a mask. Queries, keys, values, probabilities and
// results are rounded to bfloat16, 2⁻⁹ each; measured 1.8e-3 for results and 2.6e-3 for gradients.
describe.skipIf(!capabilities().fastBf16)("the kernel (if there is one for this processor)", () => {
  it.each(cases)("equals libtorch's attention: $name", ({ prefix, lengths, branches, window, heads }) => {
    const [own, shared, headDim] = heads;
    const tokens = prefix + lengths.reduce((a, b) => a + b, 0);
    const random = (...shape: number[]) => ops.randn(shape, { generator }).to("bfloat16");
    const inputs = [own, shared, shared].map((count) => random(tokens, count, headDim));
    const weights = random(tokens, own * headDim);
    const model = { dimensions: { headDim, window }, dtype: "bfloat16", device: "cpu" } as const;
    const actual = run(packedAttention({ prefix, lengths, branches }, model), inputs, weights, "bfloat16");
    const wanted = run(
      attentionBySequence({ prefix, lengths, branches }, window),
      inputs,
      weights,
      "float64",
    );
    for (const [i, x] of actual.entries()) expect(distance(x, wanted[i] as Tensor)).toBeLessThan(4e-3);
  });

  it("gives a sequence the same bits whatever it is packed with", () => {
    const [lengths, heads, headDim] = [[37, 100, 5], 2, 32];
    const tokens = 142;
    const [q, k, v] = [0, 1, 2].map(() => ops.randn([tokens, heads, headDim], { generator }).to("bfloat16"));
    const model = { dimensions: { headDim, window: Infinity }, dtype: "bfloat16", device: "cpu" } as const;
    const attend = (of: number[], from: number) => {
      const count = of.reduce((a, b) => a + b, 0);
      const part = (x: Tensor | undefined) => (x as Tensor).narrow(0, from, count);
      return packedAttention({ lengths: of }, model)(0, part(q), part(k), part(v));
    };
    const packed = attend(lengths, 0).narrow(0, 37, 100).toArray();
    expect(attend([100], 37).toArray()).toEqual(packed);
  });

  it("gives a sequence the same bits after a shared prefix", () => {
    const [prefix, lengths, heads, headDim] = [48, [30, 100, 7], 2, 32];
    const [q, k, v] = [0, 1, 2].map(() => ops.randn([185, heads, headDim], { generator }).to("bfloat16"));
    const inputs = [q, k, v] as [Tensor, Tensor, Tensor];
    const model = { dimensions: { headDim, window: Infinity }, dtype: "bfloat16", device: "cpu" } as const;
    const packed = packedAttention({ prefix, lengths }, model)(0, ...inputs);
    let start = prefix;
    for (const length of lengths) {
      const [q, k, v] = inputs.map((x) => cat([x.narrow(0, 0, prefix), x.narrow(0, start, length)]));
      const alone = packedAttention({ lengths: [prefix + length] }, model)(
        0,
        q as Tensor,
        k as Tensor,
        v as Tensor,
      );
      expect(packed.narrow(0, start, length).toArray()).toEqual(alone.narrow(0, prefix, length).toArray());
      start += length;
    }
  });
});
