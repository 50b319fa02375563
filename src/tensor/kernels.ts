import type { DType } from "./dtype.ts";
import { native } from "./native.ts";
import { operators } from "./ops.ts";
import type { Tensor } from "./tensor.ts";

// Bindings of our kernels (native/). Each function returns null where there is no kernel for the tensor's device and
// dtype on this machine. The caller then computes the same formula with libtorch's operators, which the kernels are
// also tested against. Nothing else decides where kernels are used.

/** New keys and values (tokens, kvHeads, dim), and the cache's that they are written to (rows, kvHeads, capacity, dim). */
type CacheWrite = [k: Tensor, v: Tensor, keys: Tensor, values: Tensor];

/** What a decoding step reads and writes of a layer's cache. */
export interface StepCache {
  /** (rows, kvHeads, capacity, dim), in the kernels' layout. */
  keys: Tensor;
  values: Tensor;
  /** (rows, 6) int32: the three ranges of positions that each row's new token attends to. */
  keyRanges: Tensor;
  /** (rows) int32: position of the new token. */
  positions: Tensor;
  /** Factor of the scores: 1 / √dim. */
  scale: number;
}

interface Kernels {
  rms_norm(x: Tensor, weight: Tensor, eps: number): Tensor;
  swiglu(gate: Tensor, up: Tensor): Tensor;
  rotate(x: Tensor, angles: Tensor): Tensor;
  embedding(table: Tensor, ids: Tensor): Tensor;
  linear(x: Tensor, weight: Tensor, options: { bias: Tensor | null }): Tensor;
  swiglu_linear(gate: Tensor, up: Tensor, weight: Tensor): Tensor;
  dequantise(values: Tensor, scales: Tensor, codes: Tensor, dtype: DType): Tensor;
  quantised_linear(x: Tensor, values: Tensor, scales: Tensor, codes: Tensor): Tensor;
  logprobs(
    logits: Tensor,
    targets: Tensor,
    temperature: number,
  ): [logprobs: Tensor, entropy: Tensor, correct: Tensor, sums: Tensor];
  draw(logits: Tensor, uniforms: Tensor, temperatures: Tensor): [tokens: Tensor, logprobs: Tensor];
  global_norm(tensors: readonly Tensor[]): number;
  adamw_split_(
    ...args: [
      weight: Tensor,
      low: Tensor,
      m: Tensor,
      v: Tensor,
      gradient: Tensor,
      step: number,
      lr: number,
      beta1: number,
      beta2: number,
      eps: number,
      decay: number,
      scale: number,
    ]
  ): void;
  attend_cached(
    ...args: [q: Tensor, ...write: CacheWrite, lengths: Tensor, window: number, scale: number]
  ): Tensor;
  attention(
    ...args: [q: Tensor, k: Tensor, v: Tensor, keyRanges: Tensor, tokens: Tensor, scale: number]
  ): [attended: Tensor, logs: Tensor];
  store_tokens_(...args: [...write: CacheWrite, tokens: Tensor, rows: Tensor, positions: Tensor]): void;
  attend_step(
    ...args: [q: Tensor, ...write: CacheWrite, keyRanges: Tensor, positions: Tensor, scale: number]
  ): Tensor;
  decode_block(
    x: Tensor,
    weights: readonly Tensor[],
    angles: Tensor,
    keys: Tensor,
    values: Tensor,
    keyRanges: Tensor,
    positions: Tensor,
    eps: number,
    scale: number,
  ): Tensor;
}

const fused = operators<Kernels>("plumbline");

/** Device and dtype of a tensor, or of a model. */
interface Placement {
  device: string;
  dtype: DType;
}

/** Whether our kernels support this device and dtype. */
const hasKernels = ({ device, dtype }: Placement): boolean =>
  device === "cpu" && (dtype === "bfloat16" || dtype === "float32");

let vectorKernels: boolean | undefined;
/** Whether there are kernels for the processor's instructions (or their emulation in tests), which attention needs. */
const hasVectorKernels = (): boolean => (vectorKernels ??= native().capabilities().fastBf16);

/** Looks up rows of a table: (vocab, width), int64 (tokens) → (tokens, width). The backward pass adds to these rows only, without a dense gradient of zeros. */
export const embedding = (table: Tensor, ids: Tensor) =>
  hasKernels(table) ? fused.embedding(table, ids) : null;

/** See `rmsNorm` in nn/block.ts. */
export const rmsNorm = (x: Tensor, weight: Tensor, eps: number) =>
  hasKernels(x) ? fused.rms_norm(x, weight, eps) : null;

/** See `swiglu` in nn/block.ts. */
export const swiglu = (gate: Tensor, up: Tensor) => (hasKernels(gate) ? fused.swiglu(gate, up) : null);

/** See `rotate` in nn/block.ts. */
export const rotate = (x: Tensor, angles: Tensor) => (hasKernels(x) ? fused.rotate(x, angles) : null);

/** Linear layer. The kernel itself chooses between our bfloat16 product and libtorch's, by what the processor supports. */
export const linear = (x: Tensor, weight: Tensor, bias: Tensor | null) =>
  hasKernels(x) ? fused.linear(x, weight, { bias }) : null;

/** Computes swiglu(gate, up) · weightᵀ. The backward pass recomputes swiglu in place of storing it. */
export const gatedLinear = (gate: Tensor, up: Tensor, weight: Tensor) =>
  hasKernels(gate) ? fused.swiglu_linear(gate, up, weight) : null;

/** See `dequantise` in nn/quantise.ts. */
export const dequantise = (values: Tensor, scales: Tensor, codes: Tensor, dtype: DType) =>
  hasKernels({ device: values.device, dtype }) ? fused.dequantise(values, scales, codes, dtype) : null;

/** Computes x · weightᵀ with a quantised weight, which is dequantised for one layer at a time. */
export const quantisedLinear = (x: Tensor, values: Tensor, scales: Tensor, codes: Tensor) =>
  hasKernels(x) ? fused.quantised_linear(x, values, scales, codes) : null;

/** Computes `tokenStatistics` (math/logprobs.ts) in one pass over the logits, without a float32 copy of them. */
export function logprobs(logits: Tensor, targets: Tensor, temperature: number) {
  if (!hasKernels(logits)) return null;
  const [logprobs, entropy, correct] = fused.logprobs(logits, targets, temperature);
  return { logprobs, entropy, correct };
}

/** Samples tokens by inverting the cumulative distribution: see `sampleTokensUnfused` in rollout/sampling.ts. */
export const draw = (logits: Tensor, uniforms: Tensor, temperatures: Tensor) =>
  hasKernels(logits) ? fused.draw(logits, uniforms, temperatures) : null;

/** Computes the global L2 norm of tensors: √ Σ x² over all their elements. */
export const globalNorm = (tensors: readonly Tensor[]) =>
  tensors.every(hasKernels) ? fused.global_norm(tensors) : null;

/** Takes an AdamW step of a bfloat16 parameter and the low half of its master weight, in place. @returns whether there is a kernel */
export function adamwSplit(...args: Parameters<Kernels["adamw_split_"]>): boolean {
  if (!hasKernels(args[0])) return false;
  fused.adamw_split_(...args);
  return true;
}

/** Returns the kernel of decoding attention: of one new token per row, which it also writes to the cache. */
export const cachedAttention = (model: Placement) => (hasKernels(model) ? fused.attend_cached : null);

/**
 * Computes a block of the llama family for one new token of each row, and writes its key and value to the cache: one call
 * in place of eighteen, which take a quarter of a decoding step. Exists wherever there is a `StepCache`.
 * @param x (rows, width) @param weights of the attention's norm, q, k, v and o, and of the MLP's norm, gate, up and down
 * @param angles of `rotate` @param eps of the norms
 */
export const decodeBlock = (
  x: Tensor,
  weights: readonly Tensor[],
  angles: Tensor,
  { keys, values, keyRanges, positions, scale }: StepCache,
  eps: number,
): Tensor => fused.decode_block(x, weights, angles, keys, values, keyRanges, positions, eps, scale);

/**
 * Returns the bfloat16 attention kernels (native/attention.cc) for packed sequences and for the key-value cache. Both sum
 * in the same order, so that a token has the same bits in sampling and in training.
 */
export const packedAttention = ({ device, dtype, headDim }: Placement & { headDim: number }) =>
  device === "cpu" && dtype === "bfloat16" && headDim % 16 === 0 && hasVectorKernels()
    ? { attend: fused.attention, store: fused.store_tokens_, step: fused.attend_step }
    : null;
