import { cat, type DType, fromBytes, ops, type Tensor, tensor } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

/**
 * Sequences laid end to end without padding: every layer but attention sees one long row of tokens, and attention
 * runs per sequence. So padding cannot leak, and nothing is computed for it.
 */
export interface Batch {
  /** (tokens) int64 */
  ids: Tensor;
  /** (tokens) int64: each token's place in its own sequence. */
  positions: Tensor;
  lengths: readonly number[];
  /**
   * For each sequence the lengths of the branches at its end, none for a plain one: every branch follows what stands
   * before the first, and sees none of the others.
   */
  branches?: readonly (readonly number[])[];
  /** (wanted) int64: places of the tokens whose hidden states are asked for; all of them where there is none. */
  outputIndices?: Tensor;
}

/** Attention of one layer: q (tokens, heads, dim), k and v (tokens, kvHeads, dim) → (tokens, heads · dim). */
export type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

type Packing = Pick<Batch, "lengths" | "branches">;

/** Where a sequence or branch begins among the keys: at a multiple of this, so that the order of sums over them does not
 * depend on what it is packed with. */
export const keyAlignment = 16;
/** Keys are taken this many at a time. */
export const keyBlock = 64;

/**
 * What the token `at` of a branch sees: of its prefix, and of the branch. @param start, branch: the places where they begin
 */
export function branchKeyRanges(
  start: number,
  prefix: number,
  branch: number,
  at: number,
  window: number,
): [from: number, to: number, from: number, to: number] {
  const from = Math.min(prefix, Math.max(0, prefix + at + 1 - window));
  return [start + from, start + prefix, branch + Math.max(0, at + 1 - window), branch + at + 1];
}

/**
 * What each token of a packed batch sees, as two ranges [from, to) of keys' places: what stands before the branches, and
 * its own branch. (tokens, 4)
 * @returns them, and the token in each place, −1 for none
 */
function packedKeyRanges({ lengths, branches = [] }: Packing, window: number, align = 1) {
  const ranges: number[] = [];
  const tokens: number[] = [];
  const beginAt = (multiple: number): number => {
    while (tokens.length % multiple) tokens.push(-1);
    return tokens.length;
  };
  const add = (...range: [number, number, number, number]) => {
    tokens.push(ranges.length / 4);
    ranges.push(...range);
  };
  for (const [i, length] of lengths.entries()) {
    const of = branches[i] ?? [];
    const prefix = length - of.reduce((a, b) => a + b, 0);
    const start = beginAt(align);
    for (let at = 0; at < prefix; at++) add(start + Math.max(0, at + 1 - window), start + at + 1, 0, 0);
    for (const size of of) {
      const branch = beginAt(align);
      for (let at = 0; at < size; at++) add(...branchKeyRanges(start, prefix, branch, at, window));
    }
  }
  return { ranges: Int32Array.from(ranges), tokens };
}

/** A mask (query, key) of a sequence for scaled_dot_product_attention: 0 where a query sees a key, −∞ elsewhere. */
function attentionMask(ranges: Int32Array, start: number, length: number): Tensor {
  const mask = new Float32Array(length * length).fill(-Infinity);
  for (let query = 0; query < length; query++)
    for (const range of [0, 2]) {
      const [from = 0, to = 0] = ranges.subarray(4 * (start + query) + range);
      if (from < to) mask.fill(0, query * length + from - start, query * length + to - start);
    }
  return tensor(mask, { shape: [length, length] });
}

/** Up to here float32 attention is faster: libtorch's bfloat16 backward on the CPU takes twice the time at 60 tokens. */
const shortSequence = 256;

/** What attention has to know of a model. */
export interface AttentionModel {
  dimensions: { headDim: number; window: number };
  dtype: DType;
  device: string;
}

/** Our kernels of attention for such a model, or null where libtorch's is called. */
export const attentionKernels = ({ dimensions, device, dtype }: AttentionModel) =>
  kernels.packedAttention({ device, dtype, headDim: dimensions.headDim });

/** Causal attention within each sequence of a packed batch: of all at once with our kernels, several times as fast. */
export function packedAttention(batch: Packing, model: AttentionModel): Attend {
  const { headDim, window } = model.dimensions;
  const kernel = attentionKernels(model);
  if (!kernel) return attentionBySequence(batch, window);
  const { ranges, tokens } = packedKeyRanges(batch, window, keyAlignment);
  while (tokens.length % keyBlock) tokens.push(-1);
  const seen = fromBytes(new Uint8Array(ranges.buffer), [ranges.length / 4, 4], "int32");
  const places = tensor(tokens, { dtype: "int32" });
  return (_layer, q, k, v) =>
    kernel.attend(q, k, v, seen, places, 1 / Math.sqrt(headDim))[0].view(q.size(0), -1);
}

/** The same by libtorch's attention, for one sequence after the other: the kernel's oracle. */
export function attentionBySequence({ lengths, branches = [] }: Packing, window: number): Attend {
  const { ranges } = packedKeyRanges({ lengths, branches }, window);
  const short = Math.max(...lengths) <= shortSequence;
  let start = 0;
  const masks = lengths.map((length, i) => {
    const mask =
      (branches[i]?.length ?? 0) > 1 || length > window ? attentionMask(ranges, start, length) : null;
    start += length;
    return mask;
  });
  return (_layer, q, k, v) => {
    const exact = short && q.device === "cpu";
    const heads = (x: Tensor) =>
      (exact ? x.to("float32") : x).split(lengths, 0).map((part) => part.transpose(0, 1).unsqueeze(0));
    const keys = heads(k);
    const values = heads(v);
    const queries = heads(q);
    const outputs = queries.map((query, i) => {
      const attn_mask = masks[i]?.to(query.dtype).toDevice(query.device) ?? null;
      const options = { attn_mask, is_causal: attn_mask === null, enable_gqa: true };
      const out = ops.scaled_dot_product_attention(query, keys[i] as Tensor, values[i] as Tensor, options);
      return out
        .squeeze(0)
        .transpose(0, 1)
        .reshape(lengths[i] as number, -1);
    });
    return (outputs.length === 1 ? (outputs[0] as Tensor) : cat(outputs)).to(q.dtype);
  };
}
