import { capabilities, operator, ops, type Tensor } from "../tensor/index.ts";
import { canFuse, swiglu } from "./block.ts";

/** Linear layers of a few rows, where the processor multiplies bfloat16: libtorch's are made for many rows. */
const few = capabilities().fastBf16
  ? (operator("plumbline::linear_rows") as (
      x: Tensor,
      weight: Tensor,
      options: { bias: Tensor | null },
    ) => Tensor)
  : undefined;

/** Up to here `few` is faster. */
const fewRows = 64;

const isFew = (x: Tensor): boolean =>
  few !== undefined && x.size(0) <= fewRows && x.dtype === "bfloat16" && x.device === "cpu";

/** x · weightᵀ + bias: (rows, in) and (out, in) → (rows, out). */
export const linear = (x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor =>
  few && isFew(x) ? few(x, weight, { bias }) : ops.linear(x, weight, { bias });

/** One operator whose backward computes swiglu(gate, up) again in place of keeping it. */
const fusedGate = operator("plumbline::swiglu_linear") as (
  gate: Tensor,
  up: Tensor,
  weight: Tensor,
) => Tensor;

/** swiglu(gate, up) · weightᵀ. */
export const gatedLinear = (gate: Tensor, up: Tensor, weight: Tensor): Tensor =>
  canFuse(gate) && !isFew(gate) ? fusedGate(gate, up, weight) : linear(swiglu(gate, up), weight);
