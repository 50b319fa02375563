import { type DType, keep, ops, type Rng, scope, type Tensor } from "../tensor/index.ts";
import { linear } from "./linear.ts";
import type { LoraConfig } from "./lora-config.ts";

/** A low-rank adapter of a linear layer: its weight becomes W + scale · b a. */
export interface Adapter {
  /** (rank, in) */
  a: Tensor;
  /** (out, rank) */
  b: Tensor;
  /** alpha / rank */
  scale: number;
}

/** Makes an adapter with `a` from U(−1/√in, 1/√in), as PEFT does, and `b` of zeros: it changes nothing yet (Hu et al. 2021, §4.1). */
export function makeAdapter(
  [input, output]: readonly [number, number],
  { rank, alpha }: LoraConfig,
  dtype: DType,
  device: string,
  generator: Rng,
): Adapter {
  return scope(() => {
    const bound = 1 / Math.sqrt(input);
    const a = ops.uniform_(ops.zeros([rank, input]), { from: -bound, to: bound, generator });
    const convert = (x: Tensor) => keep(x.to(dtype).toDevice(device));
    return { a: convert(a), b: convert(ops.zeros([output, rank])), scale: alpha / rank };
  });
}

/**
 * Adds an adapter's output to its layer's output, in place: y + scale · x aᵀ bᵀ (Hu et al. 2021, eq. 3).
 * @param y (tokens, out) @param x (tokens, in)
 */
export const addAdapterOutput = (y: Tensor, x: Tensor, { a, b, scale }: Adapter): Tensor =>
  ops.add_(y, linear(linear(x, a), b), { alpha: scale });

/** Computes what an adapter adds to its layer's weight: scale · b a, (out, in), float32. */
export const deltaWeight = ({ a, b, scale }: Adapter): Tensor =>
  b.to("float32").matmul(a.to("float32")).mul(scale);
