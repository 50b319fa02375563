import { InputError } from "../data/errors.ts";
import { at, isObject, readBytes, readJsonl } from "../data/jsonl.ts";
import { parseCsv } from "../data/tables.ts";
import type { Rating, Scale } from "../statistics/agreement.ts";

const columns = ["item", "labeler", "label"] as const;

/**
 * Ratings from a CSV file with the columns item, labeler and label, or JSON lines with these fields.
 * @throws InputError with file and line for what is missing, not a number where the scale needs one, or said twice
 */
export function readRatings(path: string, scale: Scale): Rating[] {
  const rows = /\.jsonl?(\.gz)?$/.test(path) ? readJsonl(path) : readCsv(path);
  const seen = new Map<string, number>();
  return rows.map(({ line, value }): Rating => {
    const row = isObject(value) ? value : {};
    const [item, labeler, label] = columns.map((column) => {
      const cell = row[column];
      const text = typeof cell === "string" || typeof cell === "number" ? String(cell).trim() : "";
      if (text === "") throw new InputError(`${at(path, line)}: ${column} is empty`);
      return text;
    }) as [string, string, string];
    const key = JSON.stringify([item, labeler]);
    const before = seen.get(key);
    if (before !== undefined)
      throw new InputError(
        `${at(path, line)}: labeler "${labeler}" rates item "${item}" again, after line ${before}: keep one`,
      );
    seen.set(key, line);
    if (scale === "nominal") return { item, labeler, label };
    const number = Number(label);
    if (!Number.isFinite(number))
      throw new InputError(
        `${at(path, line)}: label "${label}" is not a number, as the ${scale} scale needs`,
      );
    return { item, labeler, label: number };
  });
}

/** Rows by their columns' names in small letters, which the file is to have all of. */
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
