import { readFileSync } from "node:fs";
import { parseDocument } from "yaml";
import { z } from "zod";
import { errorCode, InputError } from "../data/errors.ts";
import { isObject } from "../data/jsonl.ts";

type Settings = Record<string, unknown>;

/**
 * Parses a config and fills in the schema's defaults. Unknown keys are errors at any depth, even if the schema is not
 * strict.
 * @param where the file that `input` is from, for errors @throws InputError that lists every mistake, one on each line
 */
export function parseConfig<T extends z.ZodObject>(schema: T, input: unknown, where: string): z.output<T> {
  refuseUnknownKeys(schema, input, where);
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw new InputError(result.error.issues.map((issue) => `${where}: ${describe(issue, input)}`).join("\n"));
}

/** @throws InputError that lists every key that the schema does not have, at any depth */
export function refuseUnknownKeys(schema: z.ZodObject, input: unknown, where: string): void {
  const unknown = unknownKeys(schema, input, "");
  if (unknown.length > 0) throw new InputError(unknown.map((problem) => `${where}: ${problem}`).join("\n"));
}

/** Lists unknown keys, each with the known key that is most similar. */
function unknownKeys(schema: unknown, input: unknown, path: string): string[] {
  const object = unwrap(schema);
  if (!(object instanceof z.ZodObject) || !isObject(input)) return [];
  return Object.entries(input).flatMap(([key, value]) => {
    if (Object.hasOwn(object.shape, key)) return unknownKeys(object.shape[key], value, `${path}${key}.`);
    const similar = mostSimilar(key, Object.keys(object.shape));
    return [
      `unknown key "${path}${key}"${similar === undefined ? "" : ` (did you mean "${path}${similar}"?)`}`,
    ];
  });
}

/** Returns the schema inside `.optional()`, `.nullable()`, `.default()` and `.prefault()`. */
function unwrap(schema: unknown): unknown {
  const wrapped =
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodNullable ||
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault;
  return wrapped ? unwrap(schema.unwrap()) : schema;
}

/** Describes a mistake, with the value that is wrong. */
function describe(issue: z.core.$ZodIssue, input: unknown): string {
  const value = issue.path.reduce<unknown>((at, key) => (at as Settings | undefined)?.[key as string], input);
  const message = issue.message
    .replace(/^Invalid input: |^Invalid option: /, "")
    .replace(/, received .*$/, "");
  const path = issue.path.length > 0 ? `${issue.path.join(".")}: ` : "";
  return value === undefined
    ? `${path}missing; ${message}`
    : `${path}${message}, got ${JSON.stringify(value)}`;
}

/** Returns the name with the smallest edit distance to `key`, ignoring case, `_` and `-`; undefined when none is similar. */
export function mostSimilar(key: string, names: string[]): string | undefined {
  const normalise = (name: string) => name.replace(/[_-]/g, "").toLowerCase();
  const [best] = names
    .map((name) => ({ name, edits: editDistance(normalise(key), normalise(name)) }))
    .sort((a, b) => a.edits - b.edits);
  return best && best.edits <= Math.max(2, key.length / 3) ? best.name : undefined;
}

/** Computes the Levenshtein distance: the fewest insertions, deletions and substitutions that turn `a` into `b`. */
export function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}

/** Reads the settings in a YAML file. @throws InputError with file and line when it is missing or malformed */
export function readRecipe(path: string): Settings {
  const settings = parseYaml(readText(path), path);
  if (!isObject(settings)) throw new InputError(`${path}: expected settings, one "name: value" a line`);
  return settings;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") throw new InputError(`${path}: there is no such file`);
    if (errorCode(error) === "EISDIR") throw new InputError(`${path}: this is a directory, not a recipe`);
    throw error;
  }
}

function parseYaml(text: string, where: string): unknown {
  const document = parseDocument(text);
  const error = document.errors[0];
  if (!error) return toValue(document, where);
  const line = error.linePos?.[0].line;
  const [message] = error.message.split(/ at line \d+/);
  throw new InputError(`${where}${line === undefined ? "" : `:${line}`}: ${message}`);
}

/** Converts a YAML document to its value. @throws InputError for aliases that multiply without bound */
function toValue(document: ReturnType<typeof parseDocument>, where: string): unknown {
  try {
    return document.toJS();
  } catch (error) {
    throw new InputError(`${where}: ${(error as Error).message}`);
  }
}

/** Returns a copy of the settings with the `a.b=value` assignments of `--set` applied. Values are parsed as YAML. @throws InputError for a malformed assignment */
export function applySet(settings: Settings, assignments: readonly string[]): Settings {
  const result = structuredClone(settings);
  for (const assignment of assignments) {
    const [, path, value] = /^([^=\s]+)=(.*)$/s.exec(assignment) ?? [];
    if (path === undefined || value === undefined) {
      throw new InputError(`--set ${assignment}: expected name=value, such as ppo.clipRange=0.2`);
    }
    const keys = path.split(".");
    const last = keys.pop() as string;
    let at = result;
    for (const key of keys) {
      at[key] ??= {};
      const inner = at[key];
      if (!isObject(inner))
        throw new InputError(`--set ${assignment}: "${key}" is a value and has no settings in it`);
      at = inner;
    }
    at[last] = parseYaml(value, `--set ${assignment}`);
  }
  return result;
}
