import { Option } from "commander";
import { InputError } from "../data/errors.ts";
import type { Columns } from "../data/tables.ts";
import type { DType } from "../tensor/index.ts";

/**
 * Parser of a numeric option.
 * @throws InputError when the text is no number, below `min`, or no whole number where `whole` is set
 */
export const numeric =
  (min: number, whole = false) =>
  (text: string): number => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= min) || (whole && !Number.isInteger(value)))
      throw new InputError(`"${text}" should be ${whole ? "a whole number" : "a number"}, ${min} or more`);
    return value;
  };

/** Parses "prompt=question,chosen=good". @throws InputError when it is something else */
function parseColumns(text: string): Columns {
  const pairs = text.split(",").map((pair) => /^\s*([^=\s]+)\s*=\s*(.+?)\s*$/.exec(pair));
  if (pairs.includes(null))
    throw new InputError(`--columns "${text}": expected name=column, such as prompt=question,chosen=good`);
  return Object.fromEntries(pairs.map((pair) => [pair?.[1], pair?.[2]]));
}

/** `--columns` of the commands that read data. */
export const columnsOption = (flags = "--columns <pairs>"): Option =>
  new Option(flags, "the file's columns by our names for them: prompt=question,chosen=good").argParser(
    parseColumns,
  );

/** Options of the commands that let models answer and print a result. */
export interface AnswerOptions {
  maxTokens?: number;
  temperature?: number;
  seed: number;
  batchSize: number;
  dtype?: DType;
  out?: string;
  json?: boolean;
}

/** Number types that models compute in. */
export const dtypes = ["float32", "bfloat16"] as const;

/** `--dtype` of the commands that load a model. */
export const dtypeOption = (): Option => new Option("--dtype <type>").choices(dtypes);

/** `--store` of the commands that work through a label app as well. */
export const storeOrServerOption = [
  "--store <where>",
  "SQLite file, Postgres address (postgres://…), or a label app's address (https://…, with a token in PLUMBLINE_TOKEN)",
  "labels.db",
] as const;

/** Arguments for `Command.option`: `--store`, the label store. */
export const storeOption = [
  "--store <where>",
  "SQLite file, or a Postgres address (postgres://…)",
  "labels.db",
] as const;
