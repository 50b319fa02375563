import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { crc32c, TensorBoardWriter } from "./tensorboard.ts";

test("crc32c gives the known check values", () => {
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa); // RFC 3720, B.4
});

// A decoder of its own: what it knows of the format comes from TFRecord's and protobuf's documentation.
type Fields = Map<number, (bigint | Buffer)[]>;

function decode(bytes: Buffer): Fields {
  const fields: Fields = new Map();
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = BigInt(bytes[at++] ?? 0);
      value |= (byte & 127n) << shift;
      if (byte < 128n) return value;
    }
  };
  const take = (length: number) => {
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const key = Number(varint());
    const read = { 0: varint, 1: () => take(8), 2: () => take(Number(varint())), 5: () => take(4) }[key & 7];
    if (!read) throw new Error(`wire type ${key & 7}`);
    fields.set(key >> 3, [...(fields.get(key >> 3) ?? []), read()]);
  }
  return fields;
}

/** The only value of a field, as bytes. */
function only(fields: Fields | undefined, number: number): Buffer {
  const [value] = fields?.get(number) ?? [];
  if (!Buffer.isBuffer(value)) throw new Error(`field ${number} holds no bytes`);
  return value;
}

function records(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = Number(bytes.readBigUInt64LE(at));
    const data = bytes.subarray(at + 12, at + 12 + length);
    for (const [part, crc] of [
      [bytes.subarray(at, at + 8), bytes.readUInt32LE(at + 8)],
      [data, bytes.readUInt32LE(at + 12 + length)],
    ] as const) {
      const rotated = (crc - 0xa282ead8) >>> 0;
      expect(((rotated >>> 17) | (rotated << 15)) >>> 0).toBe(crc32c(part));
    }
    found.push(data);
    at += 16 + length;
  }
  return found;
}

test("a file of a resumed run tells viewers from which step to drop what earlier files have", () => {
  const dir = mkdtempSync(join(tmpdir(), "plumbline-tensorboard-"));
  new TensorBoardWriter(dir, 7).close();
  const [name = ""] = readdirSync(dir);
  const [, start] = records(readFileSync(join(dir, name))).map(decode);
  expect(start?.get(2)).toEqual([7n]);
  // tensorflow.Event's session_log, whose status 1 is START: TensorBoard purges the steps from this one on.
  expect(decode(only(start, 7)).get(1)).toEqual([1n]);
});

test("a decoder gets back what was written", () => {
  const dir = mkdtempSync(join(tmpdir(), "plumbline-tensorboard-"));
  const writer = new TensorBoardWriter(dir);
  writer.scalars(3, { "objective/kl": 0.5, loss: -2.25 });
  writer.scalars(5_000_000_000, { lr: Number.NaN });
  writer.close();
  const [name = ""] = readdirSync(dir);
  expect(name).toMatch(/^events\.out\.tfevents\.\d{10}\./);
  const [version, ...events] = records(readFileSync(join(dir, name))).map(decode);
  expect(String(version?.get(3))).toBe("brain.Event:2");
  const decoded = events.map((event) => {
    const values = decode(only(event, 5)).get(1) as Buffer[];
    const scalars = values.map(decode).map((value) => [String(value.get(1)), only(value, 2).readFloatLE()]);
    return { step: event.get(2)?.[0], scalars };
  });
  expect(decoded).toEqual([
    {
      step: 3n,
      scalars: [
        ["objective/kl", 0.5],
        ["loss", -2.25],
      ],
    },
    { step: 5_000_000_000n, scalars: [["lr", Number.NaN]] },
  ]);
  const wallTime = only(events[0], 1).readDoubleLE();
  expect(Math.abs(wallTime - Date.now() / 1000)).toBeLessThan(60);
});
