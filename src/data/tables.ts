import { parse } from "csv-parse/sync";
import { stringify } from "csv-stringify/sync";
import { z } from "zod";
import { InputError } from "./errors.ts";
import { columnNames, decodeUtf8, isObject, parseJsonl, type Row, readBytes } from "./jsonl.ts";
import { messageInFileSchema } from "./records.ts";
import { responseColumns } from "./response-columns.ts";

/** File encodings of rows: JSON lines, a JSON array, or a table. */
export const encodings = ["jsonl", "json", "csv", "parquet"] as const;
export type Encoding = (typeof encodings)[number];

/** Returns the encoding of a file to read, by its extension: `tsv` is CSV with tabs. Default: JSON lines. */
const encodingOf = (path: string): Encoding | "tsv" =>
  (/\.(json|csv|tsv|parquet)(\.gz)?$/i.exec(path)?.[1]?.toLowerCase() as Encoding | undefined) ?? "jsonl";

/** Returns the encoding of a file to write, by its extension. @throws InputError if none has it */
export function encodingToWrite(path: string): Encoding {
  const encoding = encodings.find((name) => path.toLowerCase().endsWith(`.${name}`));
  if (encoding) return encoding;
  throw new InputError(
    `${path}: the ending of the name says how the rows are written; those known are ${encodings.map((name) => `.${name}`).join(", ")}`,
  );
}

/** A file's columns by the names that formats have for them: `{prompt: "question"}` reads "question" as the prompt. */
export type Columns = Readonly<Record<string, string>>;

/**
 * Reads the rows of a `.jsonl`, `.json`, `.csv`, `.tsv` (gzipped or not) or `.parquet` file.
 * @throws InputError with the location, or if no row has one of `columns`
 */
export const readRows = (path: string, columns?: Columns): Promise<Row[]> =>
  parseRows(path, readBytes(path), columns);

/** Parses the contents of such a file. @param path names the file in errors and tells its encoding */
export async function parseRows(path: string, bytes: Buffer, columns: Columns = {}): Promise<Row[]> {
  if (bytes.subarray(0, 4).toString("latin1") === "PK\x03\x04" || /\.(xlsx?|ods)$/i.test(path))
    throw new InputError(
      `${path}: this is a spreadsheet or an archive: save the sheet as CSV (UTF-8), or unpack the archive`,
    );
  const encoding = encodingOf(path);
  switch (encoding) {
    case "jsonl":
    case "json":
      return renameColumns(path, parseJsonl(path, bytes), columns);
    case "csv":
    case "tsv":
      // Cells are parsed by what their column holds, so columns are renamed first.
      return renameColumns(path, parseCsv(path, bytes, encoding === "tsv" ? "\t" : ","), columns).map(
        ({ line, value }) => ({
          line,
          value: parseCells(value),
        }),
      );
    case "parquet":
      return renameColumns(path, await parseParquet(path, bytes), columns);
  }
}

/** Gives columns the names that formats have for them. @throws InputError if no row has a column */
function renameColumns<T extends Row>(path: string, rows: T[], columns: Columns): T[] {
  const renamed = Object.entries(columns);
  if (!renamed.length) return rows;
  const names = columnNames(rows);
  const missing = renamed.find(([, column]) => !names.includes(column));
  if (missing)
    throw new InputError(
      `${path}: there is no column "${missing[1]}" to read as ${missing[0]}; the columns are ${names.join(", ")}`,
    );
  const replaced = new Set(renamed.flat());
  return rows.map((row) => {
    if (!isObject(row.value)) return row;
    const { value } = row;
    const rest = Object.entries(value).filter(([name]) => !replaced.has(name));
    const moved = renamed.flatMap(([name, column]) =>
      column in value ? [[name, value[column]] as const] : [],
    );
    return { ...row, value: Object.fromEntries([...rest, ...moved]) };
  });
}

/**
 * Parses a CSV file to rows of text, keyed by the header's columns. `line` is the last line of a row.
 * @param delimiter character between cells. Default: a comma @throws InputError if it is not CSV, not UTF-8, or empty
 */
export function parseCsv(
  path: string,
  bytes: Buffer,
  delimiter = ",",
): { line: number; value: Record<string, string> }[] {
  const text = decodeUtf8(path, bytes);
  let rows: { info: { lines: number }; record: Record<string, string> }[];
  try {
    rows = parse(text, {
      columns: (header: string[]) => header.map((name) => name.trim()),
      bom: true,
      info: true,
      skip_empty_lines: true,
      delimiter,
      // Tab-separated files often have quotation marks as they are.
      relax_quotes: delimiter === "\t",
    });
  } catch (error) {
    throw new InputError(`${path}: not valid CSV: ${(error as Error).message}`);
  }
  if (!rows.length) throw new InputError(`${path}: the file has no rows`);
  return rows.map(({ info, record }) => ({ line: info.lines, value: record }));
}

/** Columns that hold text, or a conversation as JSON. Their cells are never parsed as numbers. */
const textColumns = new Set([
  ..."prompt chosen rejected completion text messages conversations instruction input output output_1 output_2".split(
    " ",
  ),
  ..."history human_ref_A human_ref_B preferred comment".split(" "),
  ...responseColumns,
]);
/** Columns that hold identifiers. Their cells are never parsed. */
const identifierColumns = new Set("id labeler task judgement item".split(" "));

const conversation = z.array(messageInFileSchema).min(1);

/** Parses the cells of a CSV row by column. Empty cells become absent fields, except in text columns. */
function parseCells(row: Record<string, string>): Record<string, unknown> {
  const value = (column: string, cell: string): unknown => {
    if (identifierColumns.has(column)) return cell || undefined;
    const parsed = parseJson(cell);
    if (textColumns.has(column)) return conversation.safeParse(parsed).success ? parsed : cell;
    return cell === "" ? undefined : (parsed ?? cell);
  };
  return Object.fromEntries(
    Object.entries(row)
      .map(([column, cell]) => [column, value(column, cell)])
      .filter(([, cell]) => cell !== undefined),
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function parseParquet(path: string, bytes: Buffer): Promise<Row[]> {
  const { parquetReadObjects } = await import("hyparquet");
  const { compressors } = await import("hyparquet-compressors");
  let rows: Record<string, unknown>[];
  try {
    const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer;
    rows = await parquetReadObjects({ file, compressors });
  } catch (error) {
    throw new InputError(`${path}: not a Parquet file, or a damaged one: ${(error as Error).message}`);
  }
  if (!rows.length) throw new InputError(`${path}: the file has no rows`);
  return rows.map((row, i) => ({ line: i + 1, value: toJsonValue(row) }));
}

/** Converts a Parquet value to what JSON would hold: no null fields, no 64-bit integers, dates as text. */
function toJsonValue(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(toJsonValue);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== null && field !== undefined)
      .map(([name, field]) => [name, toJsonValue(field)]),
  );
}

/** Encodes rows as a file. In tables, fields that a row lacks are empty cells (CSV) or null (Parquet). */
export async function encodeRows(
  encoding: Encoding,
  rows: readonly Record<string, unknown>[],
): Promise<Buffer> {
  if (encoding === "jsonl") return Buffer.from(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  if (encoding === "json") return Buffer.from(`${JSON.stringify(rows, null, 1)}\n`);
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  if (encoding === "csv") {
    const cell = (value: unknown) => (typeof value === "string" ? value : JSON.stringify(value));
    return Buffer.from(
      stringify(
        rows.map((row) => columns.map((column) => cell(row[column] ?? undefined))),
        { header: true, columns, quoted_match: /^\s|\s$/ },
      ),
    );
  }
  const { parquetWriteBuffer } = await import("hyparquet-writer");
  const data = columns.map((name) => ({ name, data: rows.map((row) => row[name] ?? null) }));
  const fields = data.map(({ name, data }) => parquetSchema(name, data));
  const schema = [{ name: "root", num_children: columns.length }, ...fields.flat()];
  return Buffer.from(parquetWriteBuffer({ columnData: data, schema }));
}

type Element = import("hyparquet").SchemaElement;

/** Infers the Parquet schema of a column or field from its values. Lists and structs are nested, as `datasets` reads them. */
function parquetSchema(name: string, values: readonly unknown[]): Element[] {
  const present = values.filter((value) => value !== null && value !== undefined);
  const every = (kind: (value: unknown) => boolean) => present.length > 0 && present.every(kind);
  const leaf = (type: Element["type"], converted?: Element["converted_type"]): Element[] => [
    { name, type, repetition_type: "OPTIONAL", ...(converted && { converted_type: converted }) } as Element,
  ];
  if (every(Array.isArray))
    return [
      { name, repetition_type: "OPTIONAL", converted_type: "LIST", num_children: 1 },
      { name: "list", repetition_type: "REPEATED", num_children: 1 },
      ...parquetSchema("element", (present as unknown[][]).flat()),
    ];
  if (every((value) => typeof value === "object")) {
    const objects = present as Record<string, unknown>[];
    const fields = [...new Set(objects.flatMap((object) => Object.keys(object)))];
    if (fields.length)
      return [
        { name, repetition_type: "OPTIONAL", num_children: fields.length },
        ...fields.flatMap((field) =>
          parquetSchema(
            field,
            objects.map((object) => object[field]),
          ),
        ),
      ];
  }
  if (every((value) => typeof value === "boolean")) return leaf("BOOLEAN");
  if (every((value) => Number.isInteger(value) && Math.abs(value as number) < 2 ** 31)) return leaf("INT32");
  if (every((value) => typeof value === "number")) return leaf("DOUBLE");
  if (present.every((value) => typeof value === "string")) return leaf("BYTE_ARRAY", "UTF8");
  return leaf("BYTE_ARRAY", "JSON");
}
