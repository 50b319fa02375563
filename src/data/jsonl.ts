import { constants } from "node:buffer";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { diskError, errorCode, InputError } from "./errors.ts";

/** A JSON value and its position: line of a JSONL file, or index in a JSON array, from 1. */
export interface Row {
  line: number;
  value: unknown;
}

const newline = 0x0a;

/**
 * Reads the rows of a `.jsonl` file, or of a `.json` file that holds an array or JSON lines; either may be gzipped (`.gz`).
 * Blank lines are skipped.
 * @throws InputError with file and line if a row cannot be read
 */
export const readJsonl = (path: string): Row[] => parseJsonl(path, readBytes(path));

/** Parses the contents of a `.jsonl` or `.json` file. @param path names the file in errors and tells its format */
export function parseJsonl(path: string, bytes: Buffer): Row[] {
  const rows =
    /\.json(\.gz)?$/.test(path) && startsArray(bytes) ? parseArray(path, bytes) : parseLines(path, bytes);
  if (rows.length === 0)
    throw new InputError(`${path}: the file is empty; it should hold one JSON record a line`);
  return rows;
}

/** Reads a file, and unpacks it if it is gzipped, whatever its name. @throws InputError if it cannot be read */
export function readBytes(path: string): Buffer {
  try {
    return unpack(path, readFileSync(path));
  } catch (error) {
    switch (errorCode(error)) {
      case "ENOENT":
        throw new InputError(`${path}: there is no such file`);
      case "EISDIR":
        throw new InputError(`${path}: this is a directory; name a .jsonl, .jsonl.gz or .json file in it`);
      case "EACCES":
        throw new InputError(`${path}: no permission to read it`);
      case "ERR_FS_FILE_TOO_LARGE":
        throw tooLarge(path);
      default:
        throw error;
    }
  }
}

const tooLarge = (path: string) => new InputError(`${path}: the file is too large to read at once; split it`);

/**
 * Unpacks the contents of a file if they are gzipped, whatever its name.
 * @param maxBytes most bytes that they may unpack to. Default: as many as a buffer holds
 * @throws InputError if they are damaged, or unpack to more
 */
export function unpack(path: string, bytes: Buffer, maxBytes = constants.MAX_LENGTH): Buffer {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return gunzipSync(bytes, { maxOutputLength: maxBytes });
  } catch (error) {
    if (errorCode(error) === "ERR_BUFFER_TOO_LARGE") throw tooLarge(path);
    throw new InputError(`${path}: the gzip data is damaged or cut short; fetch the file again`);
  }
}

function startsArray(bytes: Buffer): boolean {
  return /^\uFEFF?\s*\[/.test(bytes.toString("utf8", 0, 64));
}

function parseArray(path: string, bytes: Buffer): Row[] {
  const values: unknown[] = parseValue(path, bytes);
  return values.map((value, index) => ({ line: index + 1, value }));
}

// Decodes line by line, because a whole file may exceed the maximum string length.
function parseLines(path: string, bytes: Buffer): Row[] {
  const rows: Row[] = [];
  for (let start = 0, line = 1; start < bytes.length; line++) {
    const lineEnd = bytes.indexOf(newline, start);
    const end = lineEnd < 0 ? bytes.length : lineEnd;
    const value = parseValue(`${path}:${line}`, bytes.subarray(start, end));
    if (value !== undefined) rows.push({ line, value });
    start = end + 1;
  }
  return rows;
}

/** Parses a JSON value, ignoring a leading byte order mark; undefined if `bytes` are blank. @param where location for errors */
function parseValue(where: string, bytes: Buffer) {
  const text = decodeUtf8(where, bytes);
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${where}: not valid JSON: ${(error as Error).message}`);
  }
}

/** Decodes UTF-8 and drops a byte order mark. @param where location for the error @throws InputError if it is not UTF-8 */
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

/** Lists the names of the fields of rows, in the order in which they first occur. */
export const columnNames = (rows: readonly Row[]): string[] => [
  ...new Set(rows.flatMap(({ value }) => (isObject(value) ? Object.keys(value) : []))),
];

/** Formats the location of a row for messages: `path:line`, or `path: record n` where records have no lines. */
export function rowLocation(path: string, line: number): string {
  return /\.(json(\.gz)?|parquet)$/.test(path) ? `${path}: record ${line}` : `${path}:${line}`;
}

/** Writes rows as JSON lines, atomically: see `writeAtomic`. */
export function writeJsonl(path: string, rows: Iterable<unknown>): void {
  writeAtomic(path, (write) => {
    for (const row of rows) write(`${JSON.stringify(row)}\n`);
  });
}

/** Writes a file atomically, by renaming a temporary one: neither a reader nor a kill leaves a partial file. */
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
