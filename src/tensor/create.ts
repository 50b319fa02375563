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

/** A tensor of these numbers, in row order; its shape is (length) unless given. */
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

/** A tensor of raw bytes, little-endian, in row order; a copy. */
export function fromBytes(bytes: Uint8Array, shape: readonly number[], dtype: DType): Tensor {
  return fromTyped(bytes, shape, dtype);
}

export const zeros = (shape: readonly number[], dtype: DType = "float32"): Tensor =>
  ops.zeros(shape, { dtype });
export const full = (shape: readonly number[], value: number, dtype: DType = "float32"): Tensor =>
  ops.full(shape, value, { dtype });
/** 0, 1, … n − 1. */
export const arange = (n: number, dtype: DType = "int64"): Tensor => ops.arange(n, { dtype });
export const cat = (tensors: readonly Tensor[], dim = 0): Tensor => ops.cat(tensors, { dim });
export const stack = (tensors: readonly Tensor[], dim = 0): Tensor => ops.stack(tensors, { dim });
export const where = (condition: Tensor, a: Tensor, b: Tensor | number): Tensor =>
  ops.where(condition, a, b as Tensor);

/**
 * Tensors that read a file in place, mapped privately: writing to them never changes the file.
 * @throws TensorError when the file is missing or too short for an entry
 */
export function mapFile(
  path: string,
  entries: readonly { offset: number; shape: readonly number[]; dtype: DType }[],
): Tensor[] {
  const list = entries.map((e) => [e.offset, [...e.shape], dtypeCode(e.dtype)] as [number, number[], number]);
  return checked(() => native().mapFile(path, list)).map((handle) => new Tensor(handle));
}
