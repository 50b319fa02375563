import { type DType, keep, ops, type Rng, scope, type Tensor } from "../tensor/index.ts";
import type { LoraConfig } from "./lora-config.ts";

/** A low-rank change of a linear layer. */
export interface Adapter {
  /** (rank, in) */
  a: Tensor;
  /** (out, rank) */
  b: Tensor;
  scale: number;
}

/** An adapter that changes nothing yet: a from U(−1/√in, 1/√in), as PEFT's, and b of zeros (Hu et al. 2021, §4.1). */
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
    const place = (x: Tensor) => keep(x.to(dtype).toDevice(device));
    return { a: place(a), b: place(ops.zeros([output, rank])), scale: alpha / rank };
  });
}

/** Adds an adapter's part to what its layer made of x: y + scale · x aᵀ bᵀ (Hu et al. 2021, eq. 3), in place. */
export const addAdapterOutput = (y: Tensor, x: Tensor, { a, b, scale }: Adapter): Tensor =>
  ops.addmm_(y, ops.linear(x, a), b.transpose(0, 1), { alpha: scale });

/** What an adapter adds to its layer's weight, (out, in), in float32. */
export const deltaWeight = ({ a, b, scale }: Adapter): Tensor =>
  b.to("float32").matmul(a.to("float32")).mul(scale);
