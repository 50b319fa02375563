import { InputError } from "../data/errors.ts";
import { isObject, readBytes, readJsonl, rowLocation } from "../data/jsonl.ts";
import { parseCsv } from "../data/tables.ts";
import type { Rating, Scale } from "../statistics/agreement.ts";

const columns = ["item", "labeler", "label"] as const;

/**
 * Reads ratings from a CSV file with the columns item, labeler and label, or JSON lines with these fields.
 * @throws InputError with file and line for a missing value, a label that the scale does not allow, or a duplicate
 */
export function readRatings(path: string, scale: Scale): Rating[] {
  const rows = /\.jsonl?(\.gz)?$/.test(path) ? readJsonl(path) : readCsv(path);
  const lineByKey = new Map<string, number>();
  return rows.map(({ line, value }): Rating => {
    const row = isObject(value) ? value : {};
    const [item, labeler, label] = columns.map((column) => {
      const cell = row[column];
      const text = ["string", "number", "boolean"].includes(typeof cell) ? String(cell).trim() : "";
      if (text === "") throw new InputError(`${rowLocation(path, line)}: ${column} is empty`);
      return text;
    }) as [string, string, string];
    const key = JSON.stringify([item, labeler]);
    const firstLine = lineByKey.get(key);
    if (firstLine !== undefined)
      throw new InputError(
        `${rowLocation(path, line)}: labeler "${labeler}" rates item "${item}" again, after line ${firstLine}: keep one`,
      );
    lineByKey.set(key, line);
    if (scale === "nominal") return { item, labeler, label };
    const number = Number(label);
    if (!Number.isFinite(number))
      throw new InputError(
        `${rowLocation(path, line)}: label "${label}" is not a number, as the ${scale} scale needs`,
      );
    if (scale === "ratio" && number < 0)
      throw new InputError(
        `${rowLocation(path, line)}: label "${label}" is below 0, where the ratio scale begins: use the interval scale`,
      );
    return { item, labeler, label: number };
  });
}

/** Reads CSV rows keyed by lower-case column names. @throws InputError if a column is missing */
function readCsv(path: string): { line: number; value: unknown }[] {
  const rows = parseCsv(path, readBytes(path)).map(({ line, value }) => ({
    line,
    value: Object.fromEntries(Object.entries(value).map(([name, cell]) => [name.toLowerCase(), cell])),
  }));
  const header = Object.keys(rows[0]?.value ?? {});
  const missing = columns.filter((column) => !header.includes(column));
  if (missing.length)
    throw new InputError(
      `${path}:1: no column "${missing.join('", "')}": the header has ${header.map((name) => `"${name}"`).join(", ")}; item, labeler and label are needed`,
    );
  return rows;
}
