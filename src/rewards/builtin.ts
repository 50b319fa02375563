import { Ajv } from "ajv";
import { InputError } from "../data/errors.ts";
import type { RewardFunction } from "./scorer.ts";

// Built-in rewards. Each function makes a RewardFunction of the completion and of the other fields of its prompt's row.
// Scores are from 0 to 1, except repetition's, from −1 to 0.

/** Scores the length in characters: 1 from `min` to `max`, falling linearly to 0 at 0 characters and at twice `max`. */
export function length({
  min = 0,
  max = Infinity,
}: {
  min?: number;
  max?: number | undefined;
}): RewardFunction {
  return (_, { length }) => {
    if (length < min) return length / min;
    return length <= max ? 1 : Math.max(0, 2 - length / max);
  };
}

/**
 * Scores 1 if the completion contains a match of the pattern, else 0.
 * @param pattern a regular expression; `^` and `$` match at the ends of the text @throws InputError for a bad one
 */
export function regex({ pattern, flags = "" }: { pattern: string; flags?: string }): RewardFunction {
  const regexp = compile(pattern, flags);
  return (_, completion) => Number(regexp.test(completion));
}

function compile(pattern: string, flags = ""): RegExp {
  try {
    return new RegExp(pattern, flags.replace(/[gy]/g, ""));
  } catch (error) {
    throw new InputError(
      `reward: /${pattern}/${flags} is no regular expression: ${(error as Error).message}`,
    );
  }
}

/**
 * Scores 1 if the completion consists of these tags in this order, each once and not empty, with nothing but white space
 * between them, such as `<think>…</think><answer>…</answer>`; else 0.
 */
export function format({ tags }: { tags: string[] }): RewardFunction {
  const escaped = tags.map((tag) => tag.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const whole = new RegExp(`^\\s*${escaped.map((tag) => `<${tag}>([\\s\\S]+?)</${tag}>`).join("\\s*")}\\s*$`);
  const once = escaped.map((tag) => new RegExp(`</?${tag}>`, "g"));
  return (_, completion) =>
    Number(whole.test(completion) && once.every((tag) => completion.match(tag)?.length === 2));
}

/** Scores 1 for JSON that satisfies the schema, 0.5 for other JSON, else 0. A code fence around it is allowed. @throws InputError for a bad schema */
export function jsonSchema(schema: Record<string, unknown>): RewardFunction {
  let fits: (value: unknown) => boolean;
  try {
    fits = new Ajv({ strict: false }).compile(schema);
  } catch (error) {
    throw new InputError(`reward: jsonSchema: ${(error as Error).message}`);
  }
  return (_, completion) => {
    const [, fenced] = /^\s*```(?:json)?\s*\n([\s\S]*?)\n```\s*$/.exec(completion) ?? [];
    try {
      return fits(JSON.parse(fenced ?? completion)) ? 1 : 0.5;
    } catch {
      return 0;
    }
  };
}

interface AnswerOptions {
  /** Field of the prompt's row that holds the right answer. */
  field?: string;
  /** Regular expression whose first group, in its last match, is the answer. Default: the answer is the whole text. */
  extract?: string | undefined;
}

/** Scores 1 if the answer equals the right one, ignoring letter case and white space; else 0. */
export function answer({ field = "answer", extract }: AnswerOptions): RewardFunction {
  const normalise = (text: string) => text.toLowerCase().replace(/\s+/g, " ").trim();
  return (_, completion, metadata) =>
    Number(
      normalise(extractAnswer(completion, extract) ?? "") ===
        normalise(String(expectedAnswer(metadata, field))),
    );
}

/** Scores 1 if the last number of the answer equals the right one, within the relative `tolerance`; else 0. */
export function numeric({
  field = "answer",
  extract,
  tolerance = 1e-6,
}: AnswerOptions & { tolerance?: number }): RewardFunction {
  return (_, completion, metadata) => {
    const right = lastNumber(String(expectedAnswer(metadata, field)));
    const answered = lastNumber(extractAnswer(completion, extract) ?? "");
    if (right === undefined)
      throw new InputError(`reward: "${field}" holds no number: ${JSON.stringify(metadata[field])}`);
    return Number(
      answered !== undefined && Math.abs(answered - right) <= tolerance * Math.max(1, Math.abs(right)),
    );
  };
}

/** Reads the right answer from a prompt's row. @throws InputError when the field is missing */
function expectedAnswer(metadata: Record<string, unknown>, field: string): unknown {
  const value = metadata[field];
  if (value === undefined)
    throw new InputError(`reward: a prompt's row has no "${field}", which its right answer should be in`);
  return value;
}

/** Extracts the answer from a completion; undefined if the pattern does not match. */
function extractAnswer(text: string, pattern: string | undefined): string | undefined {
  if (pattern === undefined) return text;
  return [...text.matchAll(new RegExp(compile(pattern).source, "g"))].at(-1)?.[1];
}

/** Parses the last number of a text, such as 12, −3.5, 1,234.5, 2/3 or 1e-3. */
function lastNumber(text: string): number | undefined {
  const last = text.match(/[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)?\.?\d+(?:e[-+]?\d+)?(?:\/\d+)?/gi)?.at(-1);
  if (last === undefined) return undefined;
  const [over, under = "1"] = last.replaceAll(",", "").replace("−", "-").split("/");
  return Number(over) / Number(under);
}

/** Scores −(share of n-grams of words that occurred before in the completion): 0 if none is repeated. @param size n */
export function repetition({ size = 3 }: { size?: number }): RewardFunction {
  return (_, completion) => {
    const words = completion.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
    const ngrams = words.slice(size - 1).map((_, i) => words.slice(i, i + size).join(" "));
    return ngrams.length ? new Set(ngrams).size / ngrams.length - 1 : 0;
  };
}
