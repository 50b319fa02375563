import { cat, ops, type Tensor } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

// The operations of a transformer block other than matrix products. On the CPU each is one fused kernel
// (native/kernels.cc), which reads its inputs once; elsewhere libtorch's operators, which the kernels are tested against.

type BinaryOp = (a: Tensor, b: Tensor) => Tensor;

/** Looks up rows of a table: (vocab, width) and int64 (tokens) → (tokens, width). */
export const embedding: BinaryOp = (table, ids) => kernels.embedding(table, ids) ?? ops.embedding(table, ids);

/** RMS norm: x / √(mean x² + eps) · weight (Zhang & Sennrich 2019, eq. 4): (tokens, width) → (tokens, width). */
export const rmsNorm = (x: Tensor, weight: Tensor, eps: number): Tensor =>
  kernels.rmsNorm(x, weight, eps) ?? unfused.rmsNorm(x, weight, eps);

/** SwiGLU: silu(gate) · up (Shazeer 2020): (tokens, width), (tokens, width) → (tokens, width). */
export const swiglu: BinaryOp = (gate, up) => kernels.swiglu(gate, up) ?? unfused.swiglu(gate, up);

/**
 * Applies rotary position embedding: rotates the channel pairs (i, i + dim / 2) of every head by the token's angles
 * (Su et al. 2021, eq. 34).
 * @param x (tokens, heads, dim) @param angles (tokens, dim) float32: cosines of dim / 2 angles, then their sines
 */
export const rotate: BinaryOp = (x, angles) => kernels.rotate(x, angles) ?? unfused.rotate(x, angles);

/** The same operations in libtorch's operators. */
export const unfused = {
  rmsNorm: (x: Tensor, weight: Tensor, eps: number): Tensor => ops.rms_norm(x, [x.size(-1)], { weight, eps }),
  swiglu: (gate: Tensor, up: Tensor): Tensor => ops.silu(gate).mul(up),
  rotate(x: Tensor, angles: Tensor): Tensor {
    const half = x.size(-1) / 2;
    const [cos, sin] = [0, half].map((from) => angles.narrow(-1, from, half).unsqueeze(1).to(x.dtype));
    const [a, b] = [x.narrow(-1, 0, half), x.narrow(-1, half, half)];
    return cat(
      [a.mul(cos as Tensor).sub(b.mul(sin as Tensor)), b.mul(cos as Tensor).add(a.mul(sin as Tensor))],
      -1,
    );
  },
};
