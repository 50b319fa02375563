import { type DType, dtypeCode } from "./dtype.ts";
import { checked, TensorError } from "./error.ts";
import { native } from "./native.ts";
import { ops } from "./ops.ts";
import { Tensor } from "./tensor.ts";

type TypedArray = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array;

function fromTyped(data: TypedArray, shape: readonly number[], dtype: DType): Tensor {
  return new Tensor(
    checked(() =>
      native().fromBytes(
        data.buffer as ArrayBuffer,
        data.byteOffset,
        data.byteLength,
        [...shape],
        dtypeCode(dtype),
      ),
    ),
  );
}

/**
 * Makes a tensor from numbers in row-major order, as `torch.tensor`.
 * @param options `shape`: default (length); `dtype`: default float32
 * @throws TensorError when an int64 is no safe integer, or the numbers do not fill the shape
 */
export function tensor(
  values: readonly number[] | Float32Array,
  options: { shape?: readonly number[]; dtype?: DType } = {},
): Tensor {
  const dtype = options.dtype ?? "float32";
  const shape = options.shape ?? [values.length];
  if (dtype === "int64") {
    const wrong = values.find((value) => !Number.isSafeInteger(value));
    if (wrong !== undefined) throw new TensorError(`tensor: ${wrong} is not an int64`);
    return fromTyped(BigInt64Array.from(values as readonly number[], BigInt), shape, dtype);
  }
  if (dtype === "float64") return fromTyped(Float64Array.from(values), shape, dtype);
  const single = fromTyped(Float32Array.from(values), shape, "float32");
  return dtype === "float32" ? single : single.to(dtype);
}

/** Makes a tensor from a copy of raw little-endian bytes in row-major order. */
export function fromBytes(bytes: Uint8Array, shape: readonly number[], dtype: DType): Tensor {
  return fromTyped(bytes, shape, dtype);
}

/** Makes a tensor of zeros. */
export const zeros = (shape: readonly number[], dtype: DType = "float32"): Tensor =>
  ops.zeros(shape, { dtype });
/** Makes a tensor filled with `value`. */
export const full = (shape: readonly number[], value: number, dtype: DType = "float32"): Tensor =>
  ops.full(shape, value, { dtype });
/** Makes the tensor 0, 1, … n − 1. */
export const arange = (n: number, dtype: DType = "int64"): Tensor => ops.arange(n, { dtype });
/** Concatenates tensors along an existing dimension. */
export const cat = (tensors: readonly Tensor[], dim = 0): Tensor => ops.cat(tensors, { dim });
/** Stacks tensors along a new dimension. */
export const stack = (tensors: readonly Tensor[], dim = 0): Tensor => ops.stack(tensors, { dim });
/** Selects elements of `a` where the condition holds, else of `b`. */
export const where = (condition: Tensor, a: Tensor, b: Tensor | number): Tensor =>
  ops.where(condition, a, b as Tensor);

/**
 * Memory-maps tensors from a file. Pages are read at their first use; writing to a tensor does not change the file.
 * @param entries of each tensor its byte offset, shape and dtype
 * @throws TensorError when the file is missing or too short for an entry
 */
export function mapFile(
  path: string,
  entries: readonly { offset: number; shape: readonly number[]; dtype: DType }[],
): Tensor[] {
  const list = entries.map((e) => [e.offset, [...e.shape], dtypeCode(e.dtype)] as [number, number[], number]);
  return checked(() => native().mapFile(path, list)).map((handle) => new Tensor(handle));
}
