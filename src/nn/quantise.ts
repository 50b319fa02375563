import { type DType, keep, ops, scope, type Tensor, tensor } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

/** A quantised matrix (out, in) of 8 or 4 bits per weight. Every 64 weights along `in` share a scale. */
export interface Quantised {
  /** uint8 (out, in · bits / 8): int8 values, or two 4-bit codes per byte, the first in the low half. */
  values: Tensor;
  /** float32 (out, in / 64) */
  scales: Tensor;
}

/** Bits per weight. */
export type Bits = 4 | 8;

/** Number of weights that share a scale. */
export const blockSize = 64;

/** The 16 values of 4-bit NormalFloat: quantiles of a normal distribution (Dettmers et al. 2023, appendix E). */
export const normalFloat = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];
let codes: Tensor | undefined;
/** Returns `normalFloat` as a tensor, made at its first use. */
const codeTensor = (): Tensor => (codes ??= scope(() => keep(tensor(normalFloat))));

/** Midpoints between neighbouring codes: a value above the i-th is nearest to code i + 1 or a later one. */
const midpoints = normalFloat.slice(1).map((code, i) => (code + (normalFloat[i] as number)) / 2);

/**
 * Quantises a matrix: to int8, scaled so that the largest of a block is 127, or to 4-bit NormalFloat.
 * @param weight (out, in), `in` a multiple of 64
 */
export function quantise(weight: Tensor, bits: Bits): Quantised {
  return scope(() => {
    const [rows, width] = weight.shape as [number, number];
    const blocks = weight.to("float32").view(rows, -1, blockSize);
    const largest = blocks.abs().amax(-1, true).clamp(1e-30, null);
    const scales = largest.squeeze(-1);
    if (bits === 8) {
      const steps = ops.round(blocks.div(largest).mul(127)).to("int8");
      return { values: ops.view(steps.view(rows, width), "uint8"), scales: scales.div(127) };
    }
    const code = ops.bucketize(blocks.div(largest), tensor(midpoints)).view(rows, width / 2, 2);
    const values = code.select(-1, 0).add(code.select(-1, 1).mul(16)).to("uint8");
    return { values, scales };
  });
}

/** Dequantises a matrix: (out, in). */
export const dequantise = (from: Quantised, dtype: DType): Tensor =>
  kernels.dequantise(from.values, from.scales, codeTensor(), dtype) ?? dequantiseUnfused(from).to(dtype);

/** Computes x · weightᵀ in the dtype of x: (rows, in) → (rows, out). Only x gets a gradient. */
export const quantisedLinear = (x: Tensor, weight: Quantised): Tensor =>
  kernels.quantisedLinear(x, weight.values, weight.scales, codeTensor()) ??
  ops.linear(x, dequantiseUnfused(weight).to(x.dtype));

/** Dequantises a matrix with libtorch's operators, to float32. The kernel is tested against it. */
export function dequantiseUnfused({ values, scales }: Quantised): Tensor {
  const [rows, blocks] = scales.shape as [number, number];
  const isInt8 = values.size(1) === blocks * blockSize;
  const low = ops.bitwise_and(values, 15);
  const high = ops.__rshift__(values, 4);
  const levels = isInt8
    ? ops.view(values, "int8").to("float32")
    : codeTensor()
        .toDevice(values.device)
        .indexSelect(0, ops.stack([low, high], { dim: -1 }).view(-1).to("int64"));
  return levels.view(rows, blocks, blockSize).mul(scales.unsqueeze(-1)).view(rows, -1);
}
