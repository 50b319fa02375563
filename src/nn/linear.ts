import { ops, type Tensor } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";
import { swiglu } from "./block.ts";

/** x · weightᵀ + bias: (rows, in) and (out, in) → (rows, out). */
export const linear = (x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor =>
  kernels.linear(x, weight, bias) ?? ops.linear(x, weight, { bias });

/** swiglu(gate, up) · weightᵀ; with the kernel, backward computes swiglu again in place of keeping it. */
export const gatedLinear = (gate: Tensor, up: Tensor, weight: Tensor): Tensor =>
  kernels.gatedLinear(gate, up, weight) ?? ops.linear(swiglu(gate, up), weight);
