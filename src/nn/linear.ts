import { hasKernels, operator, ops, type Tensor } from "../tensor/index.ts";
import { swiglu } from "./block.ts";

// Ours for bfloat16 where the processor multiplies it (native/products.cc), else libtorch's.
const fused = {
  linear: operator("plumbline::linear") as (x: Tensor, weight: Tensor, o: { bias: Tensor | null }) => Tensor,
  gated: operator("plumbline::swiglu_linear") as (gate: Tensor, up: Tensor, weight: Tensor) => Tensor,
};

/** x · weightᵀ + bias: (rows, in) and (out, in) → (rows, out). */
export const linear = (x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor =>
  hasKernels(x) ? fused.linear(x, weight, { bias }) : ops.linear(x, weight, { bias });

/** swiglu(gate, up) · weightᵀ, whose backward computes swiglu again in place of keeping it. */
export const gatedLinear = (gate: Tensor, up: Tensor, weight: Tensor): Tensor =>
  hasKernels(gate) ? fused.gated(gate, up, weight) : ops.linear(swiglu(gate, up), weight);
