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
  /**
   * Number of tokens at the batch's start that every sequence attends to as its first ones: what all prompts begin with. A
   * multiple of `keyAlignment`, so that the other tokens have the same bits as without it. Default: 0.
   */
  prefix?: number;
  /** Number of tokens of each sequence, its branches included, the prefix excluded. */
  lengths: readonly number[];
  /**
   * For each sequence the lengths of the branches at its end, such as responses to one prompt. A branch attends to the
   * shared prefix and to itself, not to other branches. Default: no branches.
   */
  branches?: readonly (readonly number[])[];
  /** Token ids that are least and greatest, and the greatest position, to be checked against the model's sizes. */
  extent?: { ids: readonly [least: number, greatest: number]; position: number };
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
export type Packing = Pick<Batch, "prefix" | "lengths" | "branches">;

/**
 * Sequences and branches start at a multiple of this among the keys. So the order of sums over keys, and with it the
 * bits of the result, does not depend on what a sequence is packed with.
 */
export const keyAlignment = 16;
/** Number of keys that the kernel processes at a time. */
export const keyBlock = 64;

/** Consecutive tokens of a conversation: the position of the first one, how many there are, and the key of the first one. */
interface Segment {
  position: number;
  length: number;
  key: number;
}

const nothing: Segment = { position: 0, length: 0, key: 0 };

/** Number of ranges of keys that a token attends to: in the prefix, in its sequence and in its branch. */
const segmentCount = 3;

/** Computes the keys that the token at a position attends to, as a range [from, to) in each of three segments. */
export const visibleKeys = (position: number, window: number, segments: readonly Segment[]): number[] =>
  Array.from({ length: segmentCount }, (_, i) => segments[i] ?? nothing).flatMap((segment) => {
    const to = Math.max(0, Math.min(segment.length, position + 1 - segment.position));
    const from = Math.min(to, Math.max(0, position + 1 - window - segment.position));
    return [segment.key + from, segment.key + to];
  });

/**
 * Computes the keys that each token of a packed batch attends to.
 * @param align keys of each sequence and branch start at a multiple of this
 * @returns `ranges`: (tokens, 6), of `visibleKeys`; `tokens`: token index at each padded key position, −1 for padding
 */
function packedKeyRanges({ prefix = 0, lengths, branches = [] }: Packing, window: number, align = 1) {
  const ranges: number[] = [];
  const tokens: number[] = [];
  /** Adds the tokens of the last of these segments, which attend to all of them. */
  const add = (...segments: Segment[]) => {
    const { position, length } = segments.at(-1) as Segment;
    for (let at = 0; at < length; at++) {
      tokens.push(ranges.length / (2 * segmentCount));
      ranges.push(...visibleKeys(position + at, window, segments));
    }
  };
  const nextKey = () => {
    while (tokens.length % align) tokens.push(-1);
    return tokens.length;
  };
  const shared = { position: 0, length: prefix, key: 0 };
  add(shared);
  for (const [i, length] of lengths.entries()) {
    const branchLengths = branches[i] ?? [];
    const prompt = length - branchLengths.reduce((a, b) => a + b, 0);
    const sequence = { position: prefix, length: prompt, key: nextKey() };
    add(shared, sequence);
    for (const size of branchLengths)
      add(shared, sequence, { position: prefix + prompt, length: size, key: nextKey() });
  }
  return { ranges: Int32Array.from(ranges), tokens };
}

/**
 * Makes the mask of a sequence, after the prefix, for scaled_dot_product_attention: 0 where a query attends to a key, −∞
 * elsewhere.
 * @param ranges (tokens, 6), of `packedKeyRanges` @param start first token of the sequence
 * @returns (prefix + length, prefix + length)
 */
function attentionMask(ranges: Int32Array, prefix: number, start: number, length: number): Tensor {
  const size = prefix + length;
  const skipped = start - prefix;
  const mask = new Float32Array(size * size).fill(-Infinity);
  for (let query = 0; query < size; query++) {
    const token = query < prefix ? query : query + skipped;
    for (let i = 0; i < segmentCount; i++) {
      const [from = 0, to = 0] = ranges.subarray(2 * (segmentCount * token + i));
      const before = i ? skipped : 0;
      if (from < to) mask.fill(0, query * size + from - before, query * size + to - before);
    }
  }
  return tensor(mask, { shape: [size, size] });
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
  const width = 2 * segmentCount;
  const keyRanges = fromBytes(new Uint8Array(ranges.buffer), [ranges.length / width, width], "int32");
  const keyTokens = tensor(tokens, { dtype: "int32" });
  return (_layer, q, k, v) =>
    kernel.attend(q, k, v, keyRanges, keyTokens, 1 / Math.sqrt(headDim))[0].view(q.size(0), -1);
}

/** Makes the same attention from libtorch's operators, one sequence after the other. The kernels are tested against it. */
export function attentionBySequence({ prefix = 0, lengths, branches = [] }: Packing, window: number): Attend {
  const { ranges } = packedKeyRanges({ prefix, lengths, branches }, window);
  const isShort = prefix + Math.max(...lengths) <= shortSequence;
  let start = prefix;
  const masks = lengths.map((length, i) => {
    const mask =
      (branches[i]?.length ?? 0) > 1 || prefix + length > window
        ? attentionMask(ranges, prefix, start, length)
        : null;
    start += length;
    return mask;
  });
  return (_layer, q, k, v) => {
    const inFloat32 = isShort && q.device === "cpu";
    // Each sequence after the prefix, which is computed again for each.
    const heads = (x: Tensor) => {
      const [shared, ...own] = (inFloat32 ? x.to("float32") : x).split([prefix, ...lengths], 0) as [Tensor];
      const whole = prefix ? own.map((part) => cat([shared, part])) : own;
      return whole.map((part) => part.transpose(0, 1).unsqueeze(0));
    };
    const keys = heads(k);
    const values = heads(v);
    const queries = heads(q);
    const outputs = queries.map((query, i) => {
      const attn_mask = masks[i]?.to(query.dtype).toDevice(query.device) ?? null;
      const options = { attn_mask, is_causal: attn_mask === null, enable_gqa: true };
      const out = ops.scaled_dot_product_attention(query, keys[i] as Tensor, values[i] as Tensor, options);
      const size = lengths[i] as number;
      const rows = out
        .squeeze(0)
        .transpose(0, 1)
        .reshape(prefix + size, -1);
      return i ? rows.narrow(0, prefix, size) : rows;
    });
    return (outputs.length === 1 ? (outputs[0] as Tensor) : cat(outputs)).to(q.dtype);
  };
}
