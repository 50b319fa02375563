import { closeSync, fstatSync, openSync, readSync } from "node:fs";
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
  const file = openSync(path, "r");
  try {
    return parseGguf(path, file);
  } catch (error) {
    // Of a number in the file that is too large for an array or a buffer.
    if (error instanceof RangeError) throw new InputError(`${path}: damaged: ${error.message}`);
    throw error;
  } finally {
    closeSync(file);
  }
}

/** Number of bytes of the header that are read at a time. */
const headerBytes = 1 << 20;
/** Most bytes of one `readSync`. */
const largestRead = 1 << 30;

/** Reads bytes [offset, offset + length) of a file. */
function readAt(file: number, offset: number, length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  for (let done = 0; done < length; ) {
    const count = readSync(file, bytes, done, Math.min(length - done, largestRead), offset + done);
    if (!count) throw new RangeError(`it ends at byte ${offset + done}`);
    done += count;
  }
  return bytes;
}

/** Parses an open file. It is read in parts: larger files than a buffer can hold are common. */
function parseGguf(path: string, file: number): Gguf {
  const { size } = fstatSync(file);
  let at = 0;
  let window: Buffer = Buffer.alloc(0);
  let windowStart = 0;
  const take = (bytes: number): Buffer => {
    if (at + bytes > size) throw new InputError(`${path}: truncated at byte ${size}`);
    if (at + bytes > windowStart + window.length) {
      windowStart = at;
      window = readAt(file, at, Math.min(size - at, Math.max(bytes, headerBytes)));
    }
    at += bytes;
    return window.subarray(at - bytes - windowStart, at - windowStart);
  };
  const u32 = () => take(4).readUInt32LE();
  const u64 = () => Number(take(8).readBigUInt64LE());
  const text = () => take(u64()).toString("utf8");
  const readers: (() => GgufValue)[] = [
    () => take(1).readUInt8(),
    () => take(1).readInt8(),
    () => take(2).readUInt16LE(),
    () => take(2).readInt16LE(),
    u32,
    () => take(4).readInt32LE(),
    () => take(4).readFloatLE(),
    () => take(1).readUInt8() !== 0,
    text,
    () => {
      const type = u32();
      const length = u64();
      if (length > size) throw new InputError(`${path}: damaged: an array of ${length} values`);
      return Array.from({ length }, () => value(type));
    },
    u64,
    () => Number(take(8).readBigInt64LE()),
    () => take(8).readDoubleLE(),
  ];
  const value = (type: number): GgufValue => {
    const reader = readers[type];
    if (!reader) throw new InputError(`${path}: damaged: metadata of unknown type ${type}`);
    return reader();
  };

  if (size < 24 || take(4).toString("latin1") !== "GGUF") throw new InputError(`${path}: not a GGUF file`);
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
    if (start + offset + bytes > size)
      throw new InputError(`${path}: truncated: "${name}" ends past the end of the file`);
    const values = dequantise(type, readAt(file, start + offset, bytes), count);
    tensors.set(name, fromBytes(new Uint8Array(values.buffer), shape, "float32"));
  }
  return { metadata, tensors };
}
