import { createHash } from "node:crypto";
import { z } from "zod";
import { InputError } from "./errors.ts";
import { type Draft, type Format, type Kind, thumbCriterion } from "./formats/format.ts";
import { formats } from "./formats/index.ts";
import { isObject, type Row, rowLocation } from "./jsonl.ts";
import type { Comparison, Demonstration, Prompt, Unpaired } from "./records.ts";
import { readRows } from "./tables.ts";

/** What became of a file's rows. */
export interface DataReport {
  file: string;
  format: string;
  kind: Kind;
  rows: number;
  /** Records kept. A row may hold several: an Open Assistant tree has one per ranked group. */
  kept: number;
  /** Records dropped, by reason. */
  dropped: Record<string, number>;
  /** The first lines dropped for each reason, three at most. */
  examples: Record<string, number[]>;
}

/** Demonstrations for SFT. Throws `InputError` for a malformed row, another kind of data, or when none is left. */
export async function readDemonstrations(
  path: string,
): Promise<{ records: Demonstration[]; report: DataReport }> {
  const { drafts, report } = await readKind(path, ["demonstration"], "demonstrations");
  const records = drafts.map(({ prompt, completions }) => ({ prompt, completion: completions[0] ?? "" }));
  return { records, report };
}

/** Comparisons for the reward model. Throws as `readDemonstrations` does. */
export async function readComparisons(path: string): Promise<{ records: Comparison[]; report: DataReport }> {
  const { drafts, report } = await readKind(path, ["comparison"], "comparisons");
  const records = drafts.map(({ prompt, completions, ranks = [], ...draft }) => {
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
  });
  return { records, report };
}

/**
 * Thumbs up and down for KTO; of comparisons, up for the best and down for all others. Throws as `readDemonstrations` does.
 */
export async function readUnpaired(path: string): Promise<{ records: Unpaired[]; report: DataReport }> {
  const { drafts, report } = await readKind(path, ["unpaired", "comparison"], "thumbs up and down");
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

/** A comparison as thumbs: up for the best, down for all others. */
export function unpair({ prompt, completions, ranks }: Comparison): Unpaired[] {
  const best = Math.min(...ranks);
  return completions.map((completion, i) => ({ prompt, completion, label: ranks[i] === best }));
}

/** The distinct prompts of any data that has them, each with what else its row has. Throws as `readDemonstrations` does. */
export async function readPrompts(path: string): Promise<{ records: Prompt[]; report: DataReport }> {
  const { drafts, rows, format, report } = await readKind(
    path,
    ["prompt", "demonstration", "comparison", "unpaired"],
    "prompts",
  );
  const records = drafts.map(({ prompt, id }, i): Prompt => {
    const more = Object.entries(rows[i] as Record<string, unknown>).filter(
      ([name]) => name !== "id" && !format.fields.includes(name),
    );
    return {
      prompt,
      ...(id !== undefined && { id }),
      ...(more.length && { metadata: Object.fromEntries(more) }),
    };
  });
  return { records, report };
}

/** The sound records of rows of any format, ties too, and what became of the others. Throws as `readDemonstrations` does. */
export function readDrafts(path: string, rows: Row[]): { drafts: Draft[]; report: DataReport } {
  const format = detectFormat(path, rows);
  const kind = format.kind === "comparison" ? "completions" : format.kind;
  return keepValid(path, rows, format, kind, format.strict);
}

/** What a training reader would make of the file; malformed rows are counted where that would throw. */
export async function checkData(path: string): Promise<DataReport> {
  const rows = await readRows(path);
  const format = detectFormat(path, rows);
  return keepValid(path, rows, format, format.kind, false).report;
}

async function readKind(
  path: string,
  kinds: Kind[],
  wanted: string,
): Promise<{ drafts: Draft[]; rows: unknown[]; format: Format; report: DataReport }> {
  const rows = await readRows(path);
  const format = detectFormat(path, rows);
  if (!kinds.includes(format.kind)) {
    throw new InputError(
      `${path}: this is ${format.name} data, which holds no ${wanted}. Accepted:\n${listFormats(kinds)}`,
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

/** The format that most rows have. */
function detectFormat(path: string, rows: Row[]): Format {
  const votes = new Map<Format, number>();
  const seen = new Set<string>();
  for (const { value } of rows) {
    if (!isObject(value)) continue;
    for (const field of Object.keys(value)) seen.add(field);
    const format = formats.find((f) => f.fields.every((field) => field in value) && f.matches(value));
    if (format) votes.set(format, (votes.get(format) ?? 0) + 1);
  }
  const [winner] = [...votes].sort((a, b) => b[1] - a[1]);
  if (winner) return winner[0];
  const fields =
    seen.size > 0 ? `Its rows have the fields ${[...seen].join(", ")}` : "Its rows are not JSON objects";
  throw new InputError(`${path}: the data format is not known. ${fields}. Accepted:\n${listFormats()}`);
}

function listFormats(kinds?: Kind[]): string {
  const accepted = formats.filter((format) => !kinds || kinds.includes(format.kind));
  return accepted.map(({ name, fields }) => `  ${name}: ${fields.join(", ")}`).join("\n");
}

/** The sound records of the rows, taken as `kind`, and the row of each. With `strict`, a malformed row throws. */
function keepValid(
  path: string,
  rows: Row[],
  format: Format,
  kind: Kind,
  strict: boolean,
): { drafts: Draft[]; rows: unknown[]; report: DataReport } {
  const drafts: Draft[] = [];
  const from: unknown[] = [];
  const dropped: Record<string, number> = {};
  const examples: Record<string, number[]> = {};
  const drop = (reason: string, line: number) => {
    dropped[reason] = (dropped[reason] ?? 0) + 1;
    examples[reason] ??= [];
    if (examples[reason].length < 3 && !examples[reason].includes(line)) examples[reason].push(line);
  };
  const seen = new Set<string>();

  for (const { line, value } of rows) {
    for (const draft of readRow(format, value, strict ? rowLocation(path, line) : undefined)) {
      const sound = typeof draft === "string" ? draft : cleanDraft(draft, kind);
      const key = typeof sound === "string" ? "" : fingerprint(sound, kind);
      if (typeof sound === "string") drop(sound, line);
      else if (seen.has(key)) drop("duplicate", line);
      else {
        seen.add(key);
        drafts.push(sound);
        from.push(value);
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
  };
  return { drafts, rows: from, report };
}

/** The drafts of a row, or the reason why there is none. A malformed row throws where `where` is given. */
function readRow(format: Format, value: unknown, where?: string): (Draft | string)[] {
  try {
    const result = format.read(value);
    return typeof result === "string" ? [result] : result;
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    if (where === undefined) return ["malformed row"];
    const issue = error.issues[0];
    const field = issue?.path.length ? `${issue.path.join(".")}: ` : "";
    throw new InputError(
      `${where}: ${field}${issue?.message} (${format.name} data: ${format.fields.join(", ")})`,
    );
  }
}

/** The record, or the reason to drop it. A ranking of three or more loses only its empty or repeated replies. */
function cleanDraft(draft: Draft, kind: Kind): Draft | string {
  if (kind !== "text" && draft.prompt.every((message) => message.content.trim() === ""))
    return "empty prompt";
  if (kind === "prompt") return { ...draft, completions: [] };
  if (kind !== "comparison" && kind !== "completions")
    return draft.completions[0]?.trim() ? draft : "empty reply";

  const { completions, ranks, models, ratings } = draft;
  let kept = completions.map((_, i) => i);
  const text = (i: number) => completions[i] as string;
  const firstOf = (normaliseText: (text: string) => string) => (i: number) =>
    kept.find((j) => normaliseText(text(j)) === normaliseText(text(i))) === i;
  const sieves: [reason: string, keep: (i: number) => boolean][] = [
    ["empty reply", (i) => text(i).trim() !== ""],
    ["identical completions", firstOf((text) => text)],
    ["near-identical completions", firstOf(fold)],
  ];
  for (const [reason, keep] of sieves) {
    kept = kept.filter(keep);
    if (kept.length < 2) return reason;
  }
  const of = <T>(list: readonly T[]): T[] => kept.map((i) => list[i] as T);
  const sound: Draft = {
    ...draft,
    completions: of(completions),
    ...(ranks && { ranks: of(ranks) }),
    ...(models && { models: of(models) }),
    ...(ratings && {
      ratings: Object.fromEntries(Object.entries(ratings).map(([name, list]) => [name, of(list)])),
    }),
  };
  if (kind === "completions") return sound;
  return new Set(sound.ranks).size > 1 ? sound : "no strict preference";
}

/** Letter case and white space are no difference that a labeler could prefer. */
const fold = (text: string) => text.toLowerCase().replace(/\s+/g, " ").trim();

/** Equal for equal records, in whatever order their completions stand. */
function fingerprint({ prompt, completions, ranks, labeler }: Draft, kind: Kind): string {
  const replies = completions.map((completion, i) => JSON.stringify([ranks?.[i], completion])).sort();
  const record = kind === "prompt" ? prompt : [prompt, replies, labeler];
  return createHash("sha256").update(JSON.stringify(record)).digest("base64");
}
