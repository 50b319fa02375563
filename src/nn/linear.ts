import { ops, type Tensor } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";
import { swiglu } from "./block.ts";

/** Linear layer: x · weightᵀ + bias, (rows, in) and (out, in) → (rows, out). */
export const linear = (x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor =>
  kernels.linear(x, weight, bias) ?? ops.linear(x, weight, { bias });

/**
 * Computes swiglu(gate, up) · weightᵀ: (rows, in), (rows, in) and (out, in) → (rows, out). The kernel recomputes swiglu in
 * the backward pass in place of storing it.
 */
export const gatedLinear = (gate: Tensor, up: Tensor, weight: Tensor): Tensor =>
  kernels.gatedLinear(gate, up, weight) ?? ops.linear(swiglu(gate, up), weight);
