import { capabilities, operator, ops, type Tensor } from "../tensor/index.ts";

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

/** x · weightᵀ + bias: (rows, in) and (out, in) → (rows, out). */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null = null): Tensor {
  const small = few && x.size(0) <= fewRows && x.dtype === "bfloat16" && x.device === "cpu";
  return small ? few(x, weight, { bias }) : ops.linear(x, weight, { bias });
}
