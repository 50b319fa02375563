import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { diskError, errorCode, InputError } from "./errors.ts";

/** A JSON value and where it stood: the line of a JSONL file, or the place in a JSON array, from 1. */
export interface Row {
  line: number;
  value: unknown;
}

const newline = 0x0a;

/**
 * The rows of a `.jsonl` file, or of a `.json` file that holds an array or JSON lines; either may be gzipped (`.gz`).
 * Blank lines are skipped. Throws `InputError` with file and line for what can't be read.
 */
export const readJsonl = (path: string): Row[] => parseJsonl(path, readBytes(path));

/** `readJsonl` of bytes that are in memory, by the name of their file. */
export function parseJsonl(path: string, bytes: Buffer): Row[] {
  const rows =
    /\.json(\.gz)?$/.test(path) && startsArray(bytes) ? parseArray(path, bytes) : parseLines(path, bytes);
  if (rows.length === 0)
    throw new InputError(`${path}: the file is empty; it should hold one JSON record a line`);
  return rows;
}

/** A file, unpacked if it is gzipped. Throws `InputError` where it cannot be read. */
export function readBytes(path: string): Buffer {
  try {
    const bytes = readFileSync(path);
    return path.endsWith(".gz") ? gunzipSync(bytes) : bytes;
  } catch (error) {
    switch (errorCode(error)) {
      case "ENOENT":
        throw new InputError(`${path}: there is no such file`);
      case "EISDIR":
        throw new InputError(`${path}: this is a directory; name a .jsonl, .jsonl.gz or .json file in it`);
      case "EACCES":
        throw new InputError(`${path}: no permission to read it`);
      case "Z_DATA_ERROR":
      case "Z_BUF_ERROR":
        throw new InputError(`${path}: the gzip data is damaged or cut short; fetch the file again`);
      case "ERR_FS_FILE_TOO_LARGE":
      case "ERR_BUFFER_TOO_LARGE":
        throw new InputError(`${path}: the file is too large to read at once; split it`);
      default:
        throw error;
    }
  }
}

function startsArray(bytes: Buffer): boolean {
  return /^\uFEFF?\s*\[/.test(bytes.toString("utf8", 0, 64));
}

function parseArray(path: string, bytes: Buffer): Row[] {
  const values: unknown[] = parseValue(path, bytes);
  return values.map((value, index) => ({ line: index + 1, value }));
}

// Decoded line by line: a whole file may be longer than the longest string.
function parseLines(path: string, bytes: Buffer): Row[] {
  const rows: Row[] = [];
  for (let start = 0, line = 1; start < bytes.length; line++) {
    const found = bytes.indexOf(newline, start);
    const end = found < 0 ? bytes.length : found;
    const value = parseValue(`${path}:${line}`, bytes.subarray(start, end));
    if (value !== undefined) rows.push({ line, value });
    start = end + 1;
  }
  return rows;
}

/** The JSON value in `bytes` (a leading byte order mark is ignored); undefined when they are blank. */
function parseValue(where: string, bytes: Buffer) {
  const text = decodeUtf8(where, bytes);
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${where}: not valid JSON: ${(error as Error).message}`);
  }
}

/** UTF-8 without a byte order mark. @param where it stands, for the message @throws InputError */
export function decodeUtf8(where: string, bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InputError(`${where}: not UTF-8 text; convert the file to UTF-8`);
  }
}

/** Whether a JSON value is an object, not a list or null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Where a row of `path` stands, for messages. */
export function rowLocation(path: string, line: number): string {
  return /\.(json(\.gz)?|parquet)$/.test(path) ? `${path}: record ${line}` : `${path}:${line}`;
}

/** Writes one row a line. The file appears whole or not at all. */
export function writeJsonl(path: string, rows: Iterable<unknown>): void {
  writeAtomic(path, (write) => {
    for (const row of rows) write(`${JSON.stringify(row)}\n`);
  });
}

/** Writes a file that appears whole or not at all: a reader, or a kill, never meets a part of it. */
export function writeAtomic(path: string, fill: (write: (part: string | Uint8Array) => void) => void): void {
  const temporary = `${path}.tmp-${process.pid}`;
  try {
    const file = openSync(temporary, "w");
    try {
      fill((part) => writeFileSync(file, part));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw diskError(error, path);
  }
}
