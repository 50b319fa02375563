import { createHash } from "node:crypto";
import { z } from "zod";
import { InputError } from "./errors.ts";
import { type Draft, type Format, type Kind, thumbCriterion } from "./formats/format.ts";
import { formats } from "./formats/index.ts";
import { columnNames, isObject, type Row, rowLocation } from "./jsonl.ts";
import type { Comparison, Demonstration, Prompt, Unpaired } from "./records.ts";
import { formatColumns, suggestColumns } from "./suggest-columns.ts";
import { type Columns, readRows } from "./tables.ts";

/** Report on reading a file: how many records were kept and dropped, and why. */
export interface DataReport {
  file: string;
  format: string;
  kind: Kind;
  rows: number;
  /** Records kept. A row may hold several: an Open Assistant tree has one for each ranked group. */
  kept: number;
  /** Records dropped, by reason. */
  dropped: Record<string, number>;
  /** For each reason, the first lines that were dropped, three at most. */
  examples: Record<string, number[]>;
  /** Records of which something was left out, by what it was. */
  notes: Record<string, number>;
  /** Columns that the format does not read. */
  unused: string[];
}

/**
 * Reads demonstrations for SFT.
 * @param columns the file's columns by the names that formats have for them
 * @throws InputError for a malformed row, another kind of data, or if no record is left
 */
export async function readDemonstrations(
  path: string,
  columns?: Columns,
): Promise<{ records: Demonstration[]; report: DataReport }> {
  const { drafts, report } = await readKind(path, columns, ["demonstration"], "demonstrations");
  const records = drafts.map(({ prompt, completions, reply, tools, learnPrompt }) => ({
    prompt,
    completion: reply ?? completions[0] ?? "",
    ...(tools && { tools }),
    ...(learnPrompt && { learnPrompt }),
  }));
  return { records, report };
}

/** Reads comparisons for the reward model or DPO. Throws as `readDemonstrations` does. */
export async function readComparisons(
  path: string,
  columns?: Columns,
): Promise<{ records: Comparison[]; report: DataReport }> {
  const { drafts, report } = await readKind(path, columns, ["comparison"], "comparisons");
  return { records: drafts.map(toComparison), report };
}

/**
 * Reads comparisons with the ids and the other fields of their rows, such as a category. Throws as `readDemonstrations`
 * does.
 */
export async function readComparisonsAndMetadata(
  path: string,
  columns?: Columns,
): Promise<(Comparison & { id: unknown; metadata: Record<string, unknown> })[]> {
  const { drafts, rows, format } = await readKind(path, columns, ["comparison"], "comparisons");
  return drafts.map((draft, i) => ({
    ...toComparison(draft),
    id: (rows[i] as { id?: unknown }).id,
    metadata: metadataOf(rows[i], format),
  }));
}

function toComparison({ prompt, completions, ranks = [], ...draft }: Draft): Comparison {
  const { margins, weight, probability, labeler } = draft;
  return {
    prompt,
    completions,
    ranks,
    ...(margins !== undefined && { margins }),
    ...(weight !== undefined && { weight }),
    ...(probability !== undefined && { probability }),
    ...(labeler !== undefined && { labeler }),
  };
}

/** Returns the fields of a row that its format does not read to tell what it is. */
const metadataOf = (row: unknown, { fields }: Format): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(row as Record<string, unknown>).filter(
      ([name]) => name !== "id" && !fields.includes(name),
    ),
  );

/**
 * Reads unpaired labels for KTO. Comparisons are converted: the best completion is good, all others are bad. Throws as
 * `readDemonstrations` does.
 */
export async function readUnpaired(
  path: string,
  columns?: Columns,
): Promise<{ records: Unpaired[]; report: DataReport }> {
  const { drafts, report } = await readKind(path, columns, ["unpaired", "comparison"], "thumbs up and down");
  const records = drafts.flatMap(({ prompt, completions, ranks, ratings }) =>
    ranks
      ? unpair({ prompt, completions, ranks })
      : completions.map((completion) => ({
          prompt,
          completion,
          label: ratings?.[thumbCriterion]?.[0] === 1,
        })),
  );
  return { records, report };
}

/** Converts a comparison to unpaired labels: the best completion is good, all others are bad. */
export function unpair({ prompt, completions, ranks }: Comparison): Unpaired[] {
  const best = Math.min(...ranks);
  return completions.map((completion, i) => ({ prompt, completion, label: ranks[i] === best }));
}

/** Reads the distinct prompts of data of any kind, with the other fields of their rows. Throws as `readDemonstrations` does. */
export async function readPrompts(
  path: string,
  columns?: Columns,
): Promise<{ records: Prompt[]; report: DataReport }> {
  const { drafts, rows, format, report } = await readKind(
    path,
    columns,
    ["prompt", "demonstration", "comparison", "unpaired"],
    "prompts",
  );
  const records = drafts.map(({ prompt, id }, i): Prompt => {
    const metadata = metadataOf(rows[i], format);
    return {
      prompt,
      ...(id !== undefined && { id }),
      ...(Object.keys(metadata).length > 0 && { metadata }),
    };
  });
  return { records, report };
}

/**
 * Reads the valid records of any format, ties included, for import in a label store.
 * @param options.isStrict whether a malformed row throws as in `readDemonstrations`. Default: it is dropped, in any format
 * @throws InputError if the format is not known
 */
export function readDrafts(
  path: string,
  rows: Row[],
  { isStrict = false } = {},
): { drafts: Draft[]; report: DataReport } {
  const format = detectFormat(path, rows);
  const kind = format.kind === "comparison" ? "completions" : format.kind;
  return keepValid(path, rows, format, kind, isStrict && format.strict);
}

/**
 * Reports what a reader would make of a file.
 * @returns also `refusal`: the error of a malformed row for which training would refuse the file
 */
export async function checkData(path: string, columns?: Columns): Promise<DataReport & { refusal?: string }> {
  const rows = await readRows(path, columns);
  const format = detectFormat(path, rows);
  const { report } = keepValid(path, rows, format, format.kind, false);
  try {
    if (format.strict && Object.keys(report.dropped).some((reason) => reason.startsWith(malformed)))
      keepValid(path, rows, format, format.kind, true);
  } catch (error) {
    if (error instanceof InputError) return { ...report, refusal: error.message };
    throw error;
  }
  return report;
}

/** Beginning of the reason for which a row that is not as its format says is dropped. */
const malformed = "malformed row";

async function readKind(
  path: string,
  columns: Columns | undefined,
  kinds: Kind[],
  kindName: string,
): Promise<{ drafts: Draft[]; rows: unknown[]; format: Format; report: DataReport }> {
  const rows = await readRows(path, columns);
  const format = detectFormat(path, rows);
  if (!kinds.includes(format.kind)) {
    throw new InputError(
      `${path}: this is ${format.name} data, which holds no ${kindName}. Accepted:\n${listFormats(kinds)}`,
    );
  }
  const kind = kinds.includes("prompt") ? "prompt" : format.kind;
  const result = keepValid(path, rows, format, kind, format.strict);
  if (result.drafts.length === 0) {
    const why = Object.entries(result.report.dropped).map(([reason, count]) => `${count} ${reason}`);
    throw new InputError(`${path}: none of the ${rows.length} rows can be used: ${why.join(", ")}`);
  }
  return { ...result, format };
}

/** The rows of a file are of no known format. */
export class UnknownFormatError extends InputError {}

/** Detects the format that most rows have. @throws UnknownFormatError if no row has a known format */
function detectFormat(path: string, rows: Row[]): Format {
  const votes = new Map<Format, number>();
  for (const { value } of rows) {
    if (!isObject(value)) continue;
    const format = formats.find((f) => f.fields.every((field) => field in value) && f.matches(value));
    if (format) votes.set(format, (votes.get(format) ?? 0) + 1);
  }
  const [winner] = [...votes].sort((a, b) => b[1] - a[1]);
  if (winner) return winner[0];
  const names = columnNames(rows);
  const fields = names.length
    ? `Its rows have the fields ${names.join(", ")}`
    : "Its rows are not JSON objects";
  const guess = suggestColumns(names);
  const advice =
    guess.prompt !== undefined && Object.keys(guess).length > 1 ? `\nPerhaps: ${formatColumns(guess)}` : "";
  throw new UnknownFormatError(
    `${path}: the data format is not known. ${fields}. Accepted:\n${listFormats()}${advice}`,
  );
}

function listFormats(kinds?: Kind[]): string {
  const accepted = formats.filter((format) => !kinds || kinds.includes(format.kind));
  return accepted.map(({ name, fields }) => `  ${name}: ${fields.join(", ")}`).join("\n");
}

/** Reads the valid records of rows as `kind`, with the row of each. @param strict whether a malformed row throws */
function keepValid(
  path: string,
  rows: Row[],
  format: Format,
  kind: Kind,
  strict: boolean,
): { drafts: Draft[]; rows: unknown[]; report: DataReport } {
  const drafts: Draft[] = [];
  const sourceRows: unknown[] = [];
  const dropped: Record<string, number> = {};
  const examples: Record<string, number[]> = {};
  const drop = (reason: string, line: number) => {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
    examples[reason] ??= [];
    if (examples[reason].length < 3 && !examples[reason].includes(line)) examples[reason].push(line);
  };
  const seen = new Set<string>();
  const notes: Record<string, number> = {};

  for (const { line, value } of rows) {
    for (const draft of readRow(format, value, strict ? rowLocation(path, line) : undefined)) {
      const valid = typeof draft === "string" ? draft : cleanDraft(draft, kind);
      const key = typeof valid === "string" ? "" : fingerprint(valid, kind);
      if (typeof valid === "string") drop(valid, line);
      else if (seen.has(key)) drop("duplicate", line);
      else {
        seen.add(key);
        if (valid.note !== undefined) notes[valid.note] = (notes[valid.note] ?? 0) + 1;
        drafts.push(valid);
        sourceRows.push(value);
      }
    }
  }
  const report = {
    file: path,
    format: format.name,
    kind,
    rows: rows.length,
    kept: drafts.length,
    dropped,
    examples,
    notes,
    unused: unusedColumns(rows, format),
  };
  return { drafts, rows: sourceRows, report };
}

/** Columns that say which row it is: nothing is lost where a format does not read them. */
const identifiers = ["id", "task", "judgement"];

/** Lists the columns of rows that a format does not read. */
function unusedColumns(rows: readonly Row[], { fields, columns }: Format): string[] {
  const known = [...fields, ...columns, ...identifiers];
  return columnNames(rows).filter((name) => !known.includes(name));
}

/** Reads the drafts of a row; a string says why it has none. A malformed row throws if `where` is given. */
function readRow(format: Format, value: unknown, where?: string): (Draft | string)[] {
  try {
    const result = format.read(value);
    return typeof result === "string" ? [result] : result;
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    const issue = error.issues[0];
    // Without positions in lists, so that rows with the same mistake have the same reason.
    if (where === undefined)
      return [[malformed, ...(issue?.path.slice(0, 1) ?? []), issue?.message].join(": ")];
    const field = issue?.path.length ? `${issue.path.join(".")}: ` : "";
    throw new InputError(
      `${where}: ${field}${issue?.message} (${format.name} data: ${format.fields.join(", ")})`,
    );
  }
}

/** Cleans a draft; a string says why to drop it. A ranking of three or more loses only its empty or repeated replies. */
function cleanDraft(draft: Draft, kind: Kind): Draft | string {
  if (kind !== "text" && draft.prompt.every((message) => message.content.trim() === ""))
    return "empty prompt";
  if (kind === "prompt") return { ...draft, completions: [] };
  if (kind !== "comparison" && kind !== "completions")
    return draft.completions[0]?.trim() ? draft : "empty reply";

  const { completions, ranks, models, ratings } = draft;
  let indices = completions.map((_, i) => i);
  const text = (i: number) => completions[i] as string;
  const firstOf = (normaliseText: (text: string) => string) => (i: number) =>
    indices.find((j) => normaliseText(text(j)) === normaliseText(text(i))) === i;
  const filters: [reason: string, keep: (i: number) => boolean][] = [
    ["empty reply", (i) => text(i).trim() !== ""],
    ["identical completions", firstOf((text) => text)],
    ["near-identical completions", firstOf(fold)],
  ];
  for (const [reason, keep] of filters) {
    indices = indices.filter(keep);
    if (indices.length < 2) return reason;
  }
  const pick = <T>(list: readonly T[]): T[] => indices.map((i) => list[i] as T);
  const valid: Draft = {
    ...draft,
    completions: pick(completions),
    ...(ranks && { ranks: pick(ranks) }),
    ...(models && { models: pick(models) }),
    ...(ratings && {
      ratings: Object.fromEntries(Object.entries(ratings).map(([name, list]) => [name, pick(list)])),
    }),
  };
  if (kind === "completions") return valid;
  return new Set(valid.ranks).size > 1 ? valid : "no strict preference";
}

/** Normalises letter case and white space: texts that differ only in them are near-identical. */
const fold = (text: string) => text.toLowerCase().replace(/\s+/g, " ").trim();

/** Identifies a record by its contents, whatever the order of its completions. */
function fingerprint({ prompt, completions, ranks, labeler }: Draft, kind: Kind): string {
  const replies = completions.map((completion, i) => JSON.stringify([ranks?.[i], completion])).sort();
  const record = kind === "prompt" ? prompt : [prompt, replies, labeler];
  return createHash("sha256").update(JSON.stringify(record)).digest("base64");
}
