import { closeSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import type { Metrics } from "./events.ts";

/**
 * Writes scalars to a TensorBoard event file (`events.out.tfevents.…`) in `dir`, one new file per writer.
 * The file is a TFRecord of `tensorflow.Event` messages, of which only the few fields used here are encoded.
 */
export class TensorBoardWriter {
  readonly #file: number;

  /** @param from first step to be written: viewers drop what earlier files have from it on, as of a run that was resumed */
  constructor(dir: string, from?: number) {
    mkdirSync(dir, { recursive: true });
    const seconds = Math.floor(Date.now() / 1000);
    this.#file = openSync(join(dir, `events.out.tfevents.${seconds}.${hostname()}.${process.pid}`), "a");
    this.#write(field(3, "bytes", Buffer.from("brain.Event:2")));
    // A session log that says START.
    if (from !== undefined) this.#write(field(2, "varint", from), field(7, "bytes", field(1, "varint", 1)));
  }

  /** Writes a point for each metric, in single precision. @param step a whole number */
  scalars(step: number, metrics: Metrics): void {
    const values = Object.entries(metrics).map(([tag, value]) =>
      field(1, "bytes", Buffer.concat([field(1, "bytes", Buffer.from(tag)), field(2, "float", value)])),
    );
    this.#write(field(2, "varint", step), field(5, "bytes", Buffer.concat(values)));
  }

  close(): void {
    closeSync(this.#file);
  }

  #write(...fields: Buffer[]): void {
    const event = Buffer.concat([field(1, "double", Date.now() / 1000), ...fields]);
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(event.length));
    // One write per record: after a kill at most the last record is incomplete, which readers skip.
    writeFileSync(this.#file, Buffer.concat([length, maskedCrc(length), event, maskedCrc(event)]));
  }
}

/** Encodes a protobuf field: number and wire type, then the value. */
function field(number: number, type: "bytes", value: Buffer): Buffer;
function field(number: number, type: "varint" | "float" | "double", value: number): Buffer;
function field(
  number: number,
  type: "bytes" | "varint" | "float" | "double",
  value: Buffer | number,
): Buffer {
  const key = (wireType: number) => varint(number * 8 + wireType);
  if (typeof value !== "number") return Buffer.concat([key(2), varint(value.length), value]);
  if (type === "varint") return Buffer.concat([key(0), varint(value)]);
  const bytes = Buffer.alloc(type === "float" ? 4 : 8);
  if (type === "float") bytes.writeFloatLE(value);
  else bytes.writeDoubleLE(value);
  return Buffer.concat([key(type === "float" ? 5 : 1), bytes]);
}

/** Encodes a protobuf varint: seven bits per byte, the lowest first; the top bit marks that more follow. */
function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** Computes CRC-32C (Castagnoli), the checksum of TFRecord. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crc >>> 8) ^ (crcTable[(crc ^ byte) & 0xff] as number);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Computes TFRecord's masked checksum: CRC-32C, rotated and shifted, since a CRC of data that contains CRCs is weak. */
function maskedCrc(bytes: Uint8Array): Buffer {
  const crc = crc32c(bytes);
  const masked = Buffer.alloc(4);
  masked.writeUInt32LE((((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0);
  return masked;
}
