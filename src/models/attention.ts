import { cat, type DType, fromBytes, ops, type Tensor, tensor } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

/**
 * A packed batch: sequences end to end, without padding. Attention stays within each sequence; all other layers work on
 * single tokens. So no padding can leak into results, and no time is spent on it.
 */
export interface Batch {
  /** (tokens) int64: token ids. */
  ids: Tensor;
  /** (tokens) int64: position of each token in its sequence. */
  positions: Tensor;
  /** Number of tokens of each sequence, its branches included. */
  lengths: readonly number[];
  /**
   * For each sequence the lengths of the branches at its end, such as responses to one prompt. A branch attends to the
   * shared prefix and to itself, not to other branches. Default: no branches.
   */
  branches?: readonly (readonly number[])[];
  /** (outputs) int64: packed indices of the tokens whose hidden states are returned. Default: all tokens. */
  outputIndices?: Tensor;
}

/** Attention of one layer: q (tokens, heads, dim), k and v (tokens, kvHeads, dim) → (tokens, heads · dim). */
export interface Attend {
  (layer: number, q: Tensor, k: Tensor, v: Tensor): Tensor;
  /** Returns the layer's cache in a decoding step, for the kernel of a whole block. Absent without our kernels. */
  cache?: (layer: number) => kernels.StepCache;
}

/** Layout of a packed batch. */
type Packing = Pick<Batch, "lengths" | "branches">;

/**
 * Sequences and branches start at a multiple of this among the keys. So the order of sums over keys, and with it the
 * bits of the result, does not depend on what a sequence is packed with.
 */
export const keyAlignment = 16;
/** Number of keys that the kernel processes at a time. */
export const keyBlock = 64;

/**
 * Computes the keys that token `at` of a branch attends to, as two ranges [from, to): in the prefix and in the branch.
 * @param start first key of the prefix @param prefix number of tokens of the prefix @param branch first key of the branch
 * @param at position of the token in its branch
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
 * Computes the keys that each token of a packed batch attends to, as two ranges [from, to): in the prefix and in the
 * token's branch.
 * @param align keys of each sequence and branch start at a multiple of this
 * @returns `ranges`: (tokens, 4) key ranges; `tokens`: token index at each padded key position, −1 for padding
 */
function packedKeyRanges({ lengths, branches = [] }: Packing, window: number, align = 1) {
  const ranges: number[] = [];
  const tokens: number[] = [];
  const padTo = (multiple: number): number => {
    while (tokens.length % multiple) tokens.push(-1);
    return tokens.length;
  };
  const add = (...range: [number, number, number, number]) => {
    tokens.push(ranges.length / 4);
    ranges.push(...range);
  };
  for (const [i, length] of lengths.entries()) {
    const branchLengths = branches[i] ?? [];
    const prefix = length - branchLengths.reduce((a, b) => a + b, 0);
    const start = padTo(align);
    for (let at = 0; at < prefix; at++) add(start + Math.max(0, at + 1 - window), start + at + 1, 0, 0);
    for (const size of branchLengths) {
      const branch = padTo(align);
      for (let at = 0; at < size; at++) add(...branchKeyRanges(start, prefix, branch, at, window));
    }
  }
  return { ranges: Int32Array.from(ranges), tokens };
}

/**
 * Makes the mask of a sequence for scaled_dot_product_attention: 0 where a query attends to a key, −∞ elsewhere.
 * @param ranges (tokens, 4), of `packedKeyRanges` @returns (length, length)
 */
function attentionMask(ranges: Int32Array, start: number, length: number): Tensor {
  const mask = new Float32Array(length * length).fill(-Infinity);
  for (let query = 0; query < length; query++)
    for (const range of [0, 2]) {
      const [from = 0, to = 0] = ranges.subarray(4 * (start + query) + range);
      if (from < to) mask.fill(0, query * length + from - start, query * length + to - start);
    }
  return tensor(mask, { shape: [length, length] });
}

/** Longest sequence for which float32 is faster: at 60 tokens libtorch's bfloat16 backward takes twice the time on a CPU. */
const shortSequence = 256;

/** Properties of a model that attention depends on. */
export interface AttentionModel {
  dimensions: { headDim: number; window: number };
  dtype: DType;
  device: string;
}

/** Returns our attention kernels for a model, or null where there are none and libtorch's attention is used. */
export const attentionKernels = ({ dimensions, device, dtype }: AttentionModel) =>
  kernels.packedAttention({ device, dtype, headDim: dimensions.headDim });

/** Makes causal attention within each sequence of a packed batch. Our kernels do all sequences in one call. */
export function packedAttention(batch: Packing, model: AttentionModel): Attend {
  const { headDim, window } = model.dimensions;
  const kernel = attentionKernels(model);
  if (!kernel) return attentionBySequence(batch, window);
  const { ranges, tokens } = packedKeyRanges(batch, window, keyAlignment);
  while (tokens.length % keyBlock) tokens.push(-1);
  const keyRanges = fromBytes(new Uint8Array(ranges.buffer), [ranges.length / 4, 4], "int32");
  const keyTokens = tensor(tokens, { dtype: "int32" });
  return (_layer, q, k, v) =>
    kernel.attend(q, k, v, keyRanges, keyTokens, 1 / Math.sqrt(headDim))[0].view(q.size(0), -1);
}

/** Makes the same attention from libtorch's operators, one sequence after the other. The kernels are tested against it. */
export function attentionBySequence({ lengths, branches = [] }: Packing, window: number): Attend {
  const { ranges } = packedKeyRanges({ lengths, branches }, window);
  const isShort = Math.max(...lengths) <= shortSequence;
  let start = 0;
  const masks = lengths.map((length, i) => {
    const mask =
      (branches[i]?.length ?? 0) > 1 || length > window ? attentionMask(ranges, start, length) : null;
    start += length;
    return mask;
  });
  return (_layer, q, k, v) => {
    const inFloat32 = isShort && q.device === "cpu";
    const heads = (x: Tensor) =>
      (inFloat32 ? x.to("float32") : x).split(lengths, 0).map((part) => part.transpose(0, 1).unsqueeze(0));
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
