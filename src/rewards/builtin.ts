import { Ajv } from "ajv";
import { InputError } from "../data/errors.ts";
import type { RewardFunction } from "./scorer.ts";

// Rewards that are ready to use, each a function of the completion and of what its prompt's row has besides. All are from
// 0 to 1, but repetition, which is from −1 to 0.

/** 1 between `min` and `max` characters, and less the farther outside: 0 at nothing, or at twice `max`. */
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

/** 1 where the pattern is found. @param pattern a regular expression; `^` and `$` are the text's ends @throws InputError for a bad one */
export function regex({ pattern, flags = "" }: { pattern: string; flags?: string }): RewardFunction {
  const found = compile(pattern, flags);
  return (_, completion) => Number(found.test(completion));
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

/** 1 where the text is these tags in this order, each once, with something in it, and nothing between: `<think>…</think><answer>…</answer>`. */
export function format({ tags }: { tags: string[] }): RewardFunction {
  const escaped = tags.map((tag) => tag.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const whole = new RegExp(`^\\s*${escaped.map((tag) => `<${tag}>([\\s\\S]+?)</${tag}>`).join("\\s*")}\\s*$`);
  const once = escaped.map((tag) => new RegExp(`</?${tag}>`, "g"));
  return (_, completion) =>
    Number(whole.test(completion) && once.every((tag) => completion.match(tag)?.length === 2));
}

/** 1 for JSON that fits the schema, also within a code fence; 0.5 for other JSON; 0 for none. @throws InputError for a bad schema */
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
  /** Regular expression whose first group, in its last match, is the answer; by default all of the text. */
  extract?: string | undefined;
}

/** 1 where the answer is the right one, letter case and white space aside. */
export function answer({ field = "answer", extract }: AnswerOptions): RewardFunction {
  const plain = (text: string) => text.toLowerCase().replace(/\s+/g, " ").trim();
  return (_, completion, metadata) =>
    Number(
      plain(extractAnswer(completion, extract) ?? "") === plain(String(expectedAnswer(metadata, field))),
    );
}

/** 1 where the last number of the answer is the right one, within `tolerance` of its size. */
export function numeric({
  field = "answer",
  extract,
  tolerance = 1e-6,
}: AnswerOptions & { tolerance?: number }): RewardFunction {
  return (_, completion, metadata) => {
    const right = lastNumber(String(expectedAnswer(metadata, field)));
    const given = lastNumber(extractAnswer(completion, extract) ?? "");
    if (right === undefined)
      throw new InputError(`reward: "${field}" holds no number: ${JSON.stringify(metadata[field])}`);
    return Number(given !== undefined && Math.abs(given - right) <= tolerance * Math.max(1, Math.abs(right)));
  };
}

function expectedAnswer(metadata: Record<string, unknown>, field: string): unknown {
  const value = metadata[field];
  if (value === undefined)
    throw new InputError(`reward: a prompt's row has no "${field}", which its right answer should be in`);
  return value;
}

function extractAnswer(text: string, pattern: string | undefined): string | undefined {
  if (pattern === undefined) return text;
  return [...text.matchAll(new RegExp(compile(pattern).source, "g"))].at(-1)?.[1];
}

/** 12, −3.5, 1,234.5, 2/3, 1e-3; the last of them. */
function lastNumber(text: string): number | undefined {
  const last = text.match(/[-−]?(?:\d{1,3}(?:,\d{3})+|\d+)?\.?\d+(?:e[-+]?\d+)?(?:\/\d+)?/gi)?.at(-1);
  if (last === undefined) return undefined;
  const [over, under = "1"] = last.replaceAll(",", "").replace("−", "-").split("/");
  return Number(over) / Number(under);
}

/** −(share of the `size`-grams that were there before): 0 where none is said twice. */
export function repetition({ size = 3 }: { size?: number }): RewardFunction {
  return (_, completion) => {
    const words = completion.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
    const all = words.slice(size - 1).map((_, i) => words.slice(i, i + size).join(" "));
    return all.length ? new Set(all).size / all.length - 1 : 0;
  };
}
