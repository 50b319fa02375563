import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { z } from "zod";
import { InputError } from "../../data/errors.ts";
import { type DType, dtypeBytes, mapFile, noGrad, scope, type Tensor } from "../../tensor/index.ts";

const dtypes: Record<string, DType> = {
  F64: "float64",
  F32: "float32",
  F16: "float16",
  BF16: "bfloat16",
  I64: "int64",
  I32: "int32",
  I16: "int16",
  I8: "int8",
  U8: "uint8",
  BOOL: "bool",
};
const codes = new Map(Object.entries(dtypes).map(([code, dtype]) => [dtype, code]));

const entry = z.object({
  dtype: z.string(),
  shape: z.array(z.int().nonnegative()),
  data_offsets: z.tuple([z.int().nonnegative(), z.int().nonnegative()]),
});

function readHeader(path: string): { header: Record<string, unknown>; start: number; size: number } {
  const size = statSync(path).size;
  const file = openSync(path, "r");
  try {
    const prefix = Buffer.alloc(8);
    if (readSync(file, prefix, 0, 8, 0) < 8)
      throw new InputError(`${path}: not a safetensors file (${size} bytes long)`);
    const length = Number(prefix.readBigUInt64LE());
    if (length < 2 || length > size - 8)
      throw new InputError(
        `${path}: damaged or not a safetensors file (header of ${length} bytes in a file of ${size})`,
      );
    const text = Buffer.alloc(length);
    readSync(file, text, 0, length, 8);
    return { header: JSON.parse(text.toString("utf8")), start: 8 + length, size };
  } catch (error) {
    if (error instanceof SyntaxError) throw new InputError(`${path}: its header is not JSON`);
    throw error;
  } finally {
    closeSync(file);
  }
}

/**
 * Reads the tensors of a safetensors file by name. The file is memory-mapped: pages are read at their first use, and
 * writing to a tensor does not change the file.
 * @throws InputError when the file is damaged or truncated
 */
export function readSafetensors(path: string): Map<string, Tensor> {
  if (!existsSync(path)) throw new InputError(`${path}: no such file`);
  const { header, start, size } = readHeader(path);
  const names: string[] = [];
  const entries: { offset: number; shape: number[]; dtype: DType }[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const parsed = entry.safeParse(value);
    if (!parsed.success) throw new InputError(`${path}: the entry of "${name}" is malformed`);
    const { dtype: code, shape, data_offsets } = parsed.data;
    const dtype = dtypes[code];
    if (!dtype) throw new InputError(`${path}: "${name}" has the type ${code}, which is not supported`);
    const bytes = shape.reduce((a, b) => a * b, dtypeBytes(dtype));
    if (data_offsets[1] - data_offsets[0] !== bytes)
      throw new InputError(
        `${path}: "${name}" of shape (${shape.join(", ")}) should take ${bytes} bytes, not ${data_offsets[1] - data_offsets[0]}`,
      );
    if (start + data_offsets[1] > size)
      throw new InputError(
        `${path}: truncated: "${name}" ends at byte ${start + data_offsets[1]} of ${size}`,
      );
    names.push(name);
    entries.push({ offset: start + data_offsets[0], shape, dtype });
  }
  const tensors = mapFile(path, entries);
  return new Map(names.map((name, i) => [name, tensors[i] as Tensor]));
}

/**
 * Copies saved tensors into the tensors of the same names.
 * @param path of the file, for the error @param hint likely cause, for the error
 * @throws InputError when a tensor is missing or has another shape
 */
export function copyWeights(
  to: ReadonlyMap<string, Tensor>,
  saved: ReadonlyMap<string, Tensor>,
  path: string,
  hint: string,
): void {
  noGrad(() =>
    scope(() => {
      for (const [name, weight] of to) {
        const source = saved.get(name);
        if (source?.shape.join() !== weight.shape.join())
          throw new InputError(`${path}: "${name}" is missing or has another shape: ${hint}`);
        weight.copy_(source);
      }
    }),
  );
}

/**
 * Reads the tensors of a checkpoint folder: of model.safetensors, or of the shards that its index names.
 * @throws InputError when there is neither, or a file is damaged
 */
export function readCheckpoint(folder: string): Map<string, Tensor> {
  const single = join(folder, "model.safetensors");
  if (existsSync(single)) return readSafetensors(single);
  const index = join(folder, "model.safetensors.index.json");
  if (!existsSync(index)) throw new InputError(`${folder}: ${missingWeights(folder)}`);
  const shards = new Set(Object.values(readIndex(index)));
  return new Map([...shards].flatMap((shard) => [...readSafetensors(join(folder, shard))]));
}

/** Says which weights a folder lacks. */
const missingWeights = (folder: string): string =>
  readdirSync(folder).some((name) => /^pytorch_model.*\.bin/.test(name))
    ? "its weights are in pytorch_model.bin, which is not read, as it may run code; convert it in Python: transformers.AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    : "has neither model.safetensors nor model.safetensors.index.json";

/** Reads the file of each weight from an index. @throws InputError when it is damaged, or names a file elsewhere */
function readIndex(path: string): Record<string, string> {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new InputError(`${path}: not JSON: ${(error as Error).message}`);
  }
  const { data } = z.object({ weight_map: z.record(z.string(), z.string()) }).safeParse(json);
  if (!data) throw new InputError(`${path}: has no weight_map`);
  const elsewhere = Object.values(data.weight_map).find((shard) => !/^[^/\\]+\.safetensors$/.test(shard));
  if (elsewhere !== undefined)
    throw new InputError(`${path}: "${elsewhere}" is not the name of a .safetensors file in its folder`);
  return data.weight_map;
}

/** What is written of a tensor. `bytes` is called once, when its turn comes. */
export type StoredTensor = Pick<Tensor, "dtype" | "shape" | "numel" | "bytes">;

/** Writes a safetensors file atomically: to a temporary file, which is then renamed. */
export function writeSafetensors(path: string, tensors: ReadonlyMap<string, StoredTensor>): void {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let offset = 0;
  for (const [name, { dtype, shape, numel }] of tensors) {
    const end = offset + numel * dtypeBytes(dtype);
    header[name] = { dtype: codes.get(dtype), shape, data_offsets: [offset, end] };
    offset = end;
  }
  let text = JSON.stringify(header);
  text += " ".repeat((8 - (Buffer.byteLength(text) % 8)) % 8); // tensors start aligned
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
  const temporary = `${path}.tmp`;
  const file = openSync(temporary, "w");
  try {
    writeAll(file, prefix);
    writeAll(file, Buffer.from(text));
    for (const tensor of tensors.values()) writeAll(file, Buffer.from(tensor.bytes()));
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
  const folder = openSync(dirname(path), "r");
  fsyncSync(folder);
  closeSync(folder);
}

function writeAll(file: number, bytes: Buffer): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}
