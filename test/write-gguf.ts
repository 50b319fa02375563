import { closeSync, openSync, writeSync } from "node:fs";
import type { Tensor } from "../src/tensor/index.ts";

const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const uint64 = (value: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const float32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return bytes;
};
const text = (value: string) => Buffer.concat([uint64(Buffer.byteLength(value)), Buffer.from(value)]);

type Value = number | string | readonly string[];

/** Encodes a value with its type: whole numbers as uint32, others as float32. */
function typed(value: Value): Buffer {
  if (typeof value === "string") return Buffer.concat([uint32(8), text(value)]);
  if (typeof value !== "number")
    return Buffer.concat([uint32(9), uint32(8), uint64(value.length), ...value.map(text)]);
  return Number.isInteger(value)
    ? Buffer.concat([uint32(4), uint32(value)])
    : Buffer.concat([uint32(6), float32(value)]);
}

/**
 * Writes a GGUF file of version 3 with float32 tensors (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md).
 * @param gap bytes before the last tensor, a hole in the file
 */
export function writeGguf(
  path: string,
  metadata: Record<string, Value>,
  tensors: ReadonlyMap<string, Tensor>,
  gap = 0,
): void {
  const align = (bytes: number) => Math.ceil(bytes / 32) * 32;
  const header = [
    Buffer.concat([
      Buffer.from("GGUF"),
      uint32(3),
      uint64(tensors.size),
      uint64(Object.keys(metadata).length),
    ]),
    ...Object.entries(metadata).flatMap(([key, value]) => [text(key), typed(value)]),
  ];
  const offsets: number[] = [];
  let end = 0;
  for (const [name, { shape, numel }] of tensors) {
    const offset = align(end) + (offsets.length === tensors.size - 1 ? align(gap) : 0);
    header.push(
      text(name),
      uint32(shape.length),
      ...[...shape].reverse().map(uint64),
      uint32(0),
      uint64(offset),
    );
    offsets.push(offset);
    end = offset + 4 * numel;
  }
  const bytes = Buffer.concat(header);
  const start = align(bytes.length);
  const file = openSync(path, "w");
  writeSync(file, bytes);
  for (const [i, tensor] of [...tensors.values()].entries()) {
    const data = Buffer.from(tensor.bytes());
    writeSync(file, data, 0, data.length, start + (offsets[i] as number));
  }
  closeSync(file);
}
