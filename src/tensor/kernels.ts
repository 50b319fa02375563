import type { DType } from "./dtype.ts";
import { native } from "./native.ts";
import { operators } from "./ops.ts";
import type { Tensor } from "./tensor.ts";

// Our own kernels (native/), and the only place that decides whether there is one for a tensor on this machine. Where
// there is none these functions give null, and the caller goes through libtorch's operators: the same formula, which
// is also the kernel's oracle in tests.

/** Keys and values (tokens, kvHeads, dim), and the cache that they are added to. */
type IntoCache = [k: Tensor, v: Tensor, keys: Tensor, values: Tensor];

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
  draw(logits: Tensor, places: Tensor, temperatures: Tensor): [tokens: Tensor, logprobs: Tensor];
  global_norm(tensors: readonly Tensor[]): number;
  adamw_split_(
    ...of: [
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
    ...of: [q: Tensor, ...into: IntoCache, lengths: Tensor, window: number, scale: number]
  ): Tensor;
  attention(
    ...of: [q: Tensor, k: Tensor, v: Tensor, seen: Tensor, tokens: Tensor, scale: number]
  ): [attended: Tensor, logs: Tensor];
  store_tokens_(...of: [...into: IntoCache, tokens: Tensor, rows: Tensor, places: Tensor]): void;
  attend_step(...of: [q: Tensor, ...into: IntoCache, seen: Tensor, places: Tensor, scale: number]): Tensor;
}

const fused = operators<Kernels>("plumbline");

/** A tensor, or what a model computes with. */
interface Placement {
  device: string;
  dtype: DType;
}

const hasKernels = ({ device, dtype }: Placement): boolean =>
  device === "cpu" && (dtype === "bfloat16" || dtype === "float32");

let bf16: boolean | undefined;
/** Whether the processor (or its emulation in tests) has AVX-512 bf16, which attention's kernels are written for. */
const hasBf16 = (): boolean => (bf16 ??= native().capabilities().fastBf16);

/** Rows of a table; their gradient is added to the rows alone, not to a table of zeros. */
export const embedding = (table: Tensor, ids: Tensor) =>
  hasKernels(table) ? fused.embedding(table, ids) : null;

export const rmsNorm = (x: Tensor, weight: Tensor, eps: number) =>
  hasKernels(x) ? fused.rms_norm(x, weight, eps) : null;

export const swiglu = (gate: Tensor, up: Tensor) => (hasKernels(gate) ? fused.swiglu(gate, up) : null);

export const rotate = (x: Tensor, angles: Tensor) => (hasKernels(x) ? fused.rotate(x, angles) : null);

/** Our products in bfloat16 where the processor has them, else libtorch's: the kernel itself chooses. */
export const linear = (x: Tensor, weight: Tensor, bias: Tensor | null) =>
  hasKernels(x) ? fused.linear(x, weight, { bias }) : null;

/** swiglu(gate, up) · weightᵀ, whose backward computes swiglu again in place of keeping it. */
export const gatedLinear = (gate: Tensor, up: Tensor, weight: Tensor) =>
  hasKernels(gate) ? fused.swiglu_linear(gate, up, weight) : null;

export const dequantise = (values: Tensor, scales: Tensor, codes: Tensor, dtype: DType) =>
  hasKernels({ device: values.device, dtype }) ? fused.dequantise(values, scales, codes, dtype) : null;

/** x · weightᵀ; the whole weight is there for one layer at a time. */
export const quantisedLinear = (x: Tensor, values: Tensor, scales: Tensor, codes: Tensor) =>
  hasKernels(x) ? fused.quantised_linear(x, values, scales, codes) : null;

/** One pass over the logits, without float32 copies of them. */
export function logprobs(logits: Tensor, targets: Tensor, temperature: number) {
  if (!hasKernels(logits)) return null;
  const [logprobs, entropy, correct] = fused.logprobs(logits, targets, temperature);
  return { logprobs, entropy, correct };
}

export const draw = (logits: Tensor, places: Tensor, temperatures: Tensor) =>
  hasKernels(logits) ? fused.draw(logits, places, temperatures) : null;

/** √ Σ x² over all numbers of all tensors. */
export const globalNorm = (tensors: readonly Tensor[]) =>
  tensors.every(hasKernels) ? fused.global_norm(tensors) : null;

/** A step of AdamW on a bfloat16 parameter and its master's low half. @returns whether there is a kernel for it */
export function adamwSplit(...of: Parameters<Kernels["adamw_split_"]>): boolean {
  if (!hasKernels(of[0])) return false;
  fused.adamw_split_(...of);
  return true;
}

/** Attention of one new token a row over a cache (rows, kvHeads, capacity, dim), which it adds the token to. */
export const cachedAttention = (model: Placement) => (hasKernels(model) ? fused.attend_cached : null);

/**
 * Attention in bfloat16 over packed sequences, and the same over a cache in its own layout (native/attention.cc): a
 * sampled token has the same bits as a learned one.
 */
export const packedAttention = ({ device, dtype, headDim }: Placement & { headDim: number }) =>
  device === "cpu" && dtype === "bfloat16" && headDim % 16 === 0 && hasBf16()
    ? { attend: fused.attention, store: fused.store_tokens_, step: fused.attend_step }
    : null;
