import { readFileSync } from "node:fs";
import { InputError } from "../../data/errors.ts";
import { fromBytes, type Tensor } from "../../tensor/index.ts";
import { blockSizes, dequantise } from "./quants.ts";

// GGUF: llama.cpp's single-file model format, version 2 and 3, little-endian.

export type GgufValue = number | boolean | string | GgufValue[];

/** Contents of a GGUF file. */
export interface Gguf {
  metadata: Map<string, GgufValue>;
  /** Tensors by name, float32, with dimensions in PyTorch's order. */
  tensors: Map<string, Tensor>;
}

/**
 * Reads a GGUF file: metadata, and every tensor dequantised to float32.
 * @throws InputError when the file is not GGUF, is truncated, or has a quantisation that is not supported
 */
export function readGguf(path: string): Gguf {
  try {
    return parseGguf(path);
  } catch (error) {
    // Of a number in the file that is too large for an array or a view.
    if (error instanceof RangeError) throw new InputError(`${path}: damaged: ${error.message}`);
    throw error;
  }
}

function parseGguf(path: string): Gguf {
  const file = readFileSync(path);
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  let at = 0;
  const take = (bytes: number) => {
    if (at + bytes > file.length) throw new InputError(`${path}: truncated at byte ${file.length}`);
    at += bytes;
    return at - bytes;
  };
  const u32 = () => view.getUint32(take(4), true);
  const u64 = () => Number(view.getBigUint64(take(8), true));
  const text = () => {
    const length = u64();
    return file.toString("utf8", take(length), at);
  };
  const readers: (() => GgufValue)[] = [
    () => view.getUint8(take(1)),
    () => view.getInt8(take(1)),
    () => view.getUint16(take(2), true),
    () => view.getInt16(take(2), true),
    u32,
    () => view.getInt32(take(4), true),
    () => view.getFloat32(take(4), true),
    () => view.getUint8(take(1)) !== 0,
    text,
    () => {
      const type = u32();
      const length = u64();
      if (length > file.length) throw new InputError(`${path}: damaged: an array of ${length} values`);
      return Array.from({ length }, () => value(type));
    },
    u64,
    () => Number(view.getBigInt64(take(8), true)),
    () => view.getFloat64(take(8), true),
  ];
  const value = (type: number): GgufValue => {
    const reader = readers[type];
    if (!reader) throw new InputError(`${path}: damaged: metadata of unknown type ${type}`);
    return reader();
  };

  if (file.length < 24 || file.toString("latin1", 0, 4) !== "GGUF")
    throw new InputError(`${path}: not a GGUF file`);
  at = 4;
  const version = u32();
  if (version !== 2 && version !== 3)
    throw new InputError(`${path}: GGUF version ${version} is not supported (2 and 3 are)`);
  const tensorCount = u64();
  const metadataCount = u64();
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < metadataCount; i++) {
    const key = text();
    metadata.set(key, value(u32()));
  }
  const infos = Array.from({ length: tensorCount }, () => {
    const name = text();
    const shape = Array.from({ length: u32() }, u64).reverse();
    return { name, shape, type: u32(), offset: u64() };
  });
  const alignment = Number(metadata.get("general.alignment") ?? 32);
  const start = Math.ceil(at / alignment) * alignment;
  const tensors = new Map<string, Tensor>();
  for (const { name, shape, type, offset } of infos) {
    const block = blockSizes.get(type);
    if (!block)
      throw new InputError(`${path}: "${name}" has the quantisation type ${type}, which is not supported`);
    const count = shape.reduce((a, b) => a * b, 1);
    const bytes = (count / block.values) * block.bytes;
    if (start + offset + bytes > file.length)
      throw new InputError(`${path}: truncated: "${name}" ends past the end of the file`);
    const values = dequantise(type, file.subarray(start + offset, start + offset + bytes), count);
    tensors.set(name, fromBytes(new Uint8Array(values.buffer), shape, "float32"));
  }
  return { metadata, tensors };
}
