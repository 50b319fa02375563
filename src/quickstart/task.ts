import { fileURLToPath } from "node:url";
import { z } from "zod";
import { readJsonl } from "../data/jsonl.ts";
import { messageSchema } from "../data/records.ts";
import { mean } from "../statistics/numbers.ts";

// The quickstart's task: short answers to instructions whose constraints a program can check.

const count = z.int().positive();
const text = z.string().min(1);
const words = z.array(text).min(1);

/** A constraint on the form of an answer. */
const constraintSchema = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("maxWords"), n: count }),
  z.object({ kind: z.literal("lowercase") }),
  z.object({ kind: z.literal("uppercase") }),
  z.object({ kind: z.literal("noCommas") }),
  z.object({ kind: z.literal("bullets"), n: count }),
  z.object({ kind: z.literal("numbered"), n: count }),
  z.object({ kind: z.literal("startsWith"), text }),
  z.object({ kind: z.literal("endsWith"), text }),
  z.object({ kind: z.literal("endsWithQuestion") }),
  z.object({ kind: z.literal("includes"), words }),
  z.object({ kind: z.literal("avoids"), words }),
  z.object({ kind: z.literal("sentences"), n: count }),
  z.object({ kind: z.literal("language"), language: z.enum(["french", "spanish"]) }),
  z.object({ kind: z.literal("order"), words }),
]);
export type Constraint = z.infer<typeof constraintSchema>;

export const instructionSchema = z.object({
  id: text,
  topic: text,
  split: z.enum(["train", "heldOut"]),
  /** The user's message. */
  prompt: text,
  constraints: z.array(constraintSchema).min(1).max(2),
  /** Words of the topic, in any language: an answer with none of them is off topic. */
  about: words,
});
export type Instruction = z.infer<typeof instructionSchema>;

const demonstrationSchema = z.object({ id: text, prompt: z.array(messageSchema), completion: text });

/** How a response ended: `finished` is false if it was cut off at the length limit. */
export interface Ending {
  finished: boolean;
}

/** Loads the instructions of a split. No topic is in both splits. */
export function loadInstructions(split: Instruction["split"]): Instruction[] {
  return load("prompts.jsonl", instructionSchema).filter((instruction) => instruction.split === split);
}

/** Loads answers written by hand to some of the training instructions; `id` is the instruction's. */
export function loadDemonstrations(): z.infer<typeof demonstrationSchema>[] {
  return load("demonstrations.jsonl", demonstrationSchema);
}

// The path is the same from src/quickstart and from dist/quickstart.
function load<T>(name: string, schema: z.ZodType<T>): T[] {
  const path = fileURLToPath(new URL(`../../data/instructions/${name}`, import.meta.url));
  return readJsonl(path).map((row) => schema.parse(row.value));
}

/**
 * Computes the gold score of a response, from 0 to 1: the mean credit over its instruction's constraints, halved for
 * each of three faults (off topic, degenerate, cut off). An empty response scores 0.
 */
export function gold(instruction: Instruction, response: string, { finished }: Ending): number {
  const answer = response.normalize("NFC").trim();
  if (splitWords(answer).length === 0) return 0;
  const faults = [!onTopic(instruction, answer), isDegenerate(instruction, answer), !finished];
  const credit = mean(instruction.constraints.map((constraint) => constraintCredit(constraint, answer)));
  return credit * 0.5 ** faults.filter(Boolean).length;
}

/** Whether a response satisfies every constraint and has none of the faults of `gold`. */
export function satisfied(instruction: Instruction, response: string, ending: Ending): boolean {
  return gold(instruction, response, ending) === 1;
}

/** Computes the credit of an answer for a constraint: 1 if it is satisfied, less for a near miss. */
function constraintCredit(constraint: Constraint, answer: string): number {
  const count = splitWords(answer).length;
  switch (constraint.kind) {
    case "maxWords":
      return rangeCredit(count, 1, constraint.n);
    case "lowercase":
      return perViolation(splitWords(answer).filter((word) => word !== word.toLowerCase()).length);
    case "uppercase":
      return splitWords(answer).filter((word) => word === word.toUpperCase()).length / count;
    case "noCommas":
      return perViolation(answer.split(",").length - 1);
    case "bullets":
      return listCredit(answer, constraint.n, (line) => /^- .*\p{L}{2}/u.test(line));
    case "numbered":
      return listCredit(
        answer,
        constraint.n,
        (line, i) => /\p{L}{2}/u.test(line) && line.startsWith(`${i + 1}. `),
      );
    case "startsWith":
      return answer.startsWith(constraint.text) ? 1 : 0.5 * commonStart(answer, constraint.text);
    case "endsWith":
      if (answer.endsWith(constraint.text)) return 1;
      return lower(answer).includes(lower(constraint.text)) ? 0.4 : 0;
    case "endsWithQuestion":
      // Full credit needs a sentence before the question.
      if (/\?["”')]?$/.test(answer)) return splitSentences(answer).length > 1 ? 1 : 0.6;
      return answer.includes("?") ? 0.4 : 0;
    case "includes":
      return mean(constraint.words.map((word) => Number(wordParts(answer).includes(lower(word)))));
    case "avoids": {
      const avoided = constraint.words.map(lower).flatMap((word) => [word, `${word}s`, `${word}es`]);
      return perViolation(wordParts(answer).filter((part) => avoided.includes(part)).length);
    }
    case "sentences":
      return rangeCredit(splitSentences(answer).length, constraint.n, constraint.n);
    case "language":
      return languageCredit(answer, constraint.language);
    case "order":
      return orderCredit(wordParts(answer), constraint.words.map(lower));
  }
}

/** Returns 1 from `low` to `high`; outside it falls with the distance relative to the nearer limit, to 0. */
function rangeCredit(value: number, low: number, high: number): number {
  if (value < low) return value / low;
  return value <= high ? 1 : Math.max(0, 1 - (value - high) / high);
}

const perViolation = (violations: number): number => 1 / (1 + violations);

/** Credits a list of n different items and nothing else, except a first line that ends in a colon. */
function listCredit(answer: string, n: number, isItem: (line: string, index: number) => boolean): number {
  const lines = answer.split("\n").flatMap((line) => line.trim() || []);
  if (lines[0]?.endsWith(":") && !isItem(lines[0], 0)) lines.shift();
  const items: string[] = [];
  for (const line of lines)
    if (isItem(line, items.length)) items.push(splitWords(stripMarker(line)).join(" "));
  const different = new Set(items).size;
  return Math.max(0, 1 - (Math.abs(different - n) + lines.length - different) / n);
}

/** Computes the share of the words of `start` that the answer starts with, ignoring case. */
function commonStart(answer: string, start: string): number {
  const [actual, expected] = [wordParts(answer), wordParts(start)];
  const differs = expected.findIndex((word, i) => word !== actual[i]);
  return (differs < 0 ? expected.length : differs) / expected.length;
}

/** Computes the share of `words`, from the first on, that occur in this order. */
function orderCredit(parts: string[], words: string[]): number {
  let from = 0;
  for (const [i, word] of words.entries()) {
    const index = parts.indexOf(word, from);
    if (index < 0) return i / words.length;
    from = index + 1;
  }
  return 1;
}

const stopWords = {
  english: new Set(
    "the a an is are was it of and to in that for on with you as at be this they from can we i my have has or not your their its like do but so when".split(
      " ",
    ),
  ),
  french: new Set(
    "le la les l un une des de du d est sont et à au aux en dans que qui qu il elle ils elles on je j tu nous vous ne pas pour par sur avec ce c cette ces son sa ses mon ma mes très plus mais ou se s a bien quand y comme fait".split(
      " ",
    ),
  ),
  spanish: new Set(
    "el la los las un una unos unas de del es son y a al en que se lo por para con no su sus mi mis muy más pero o me te nos como cuando hay está están este esta le les todo todos cada bien sin sobre ser tiene".split(
      " ",
    ),
  ),
};

/** Credits the language by counts of stop words: full credit for at least two, and more than of any other language. */
function languageCredit(answer: string, language: "french" | "spanish"): number {
  const parts = wordParts(answer);
  const votes = (name: keyof typeof stopWords) => parts.filter((part) => stopWords[name].has(part)).length;
  const expected = votes(language);
  const others = [votes("english"), votes(language === "french" ? "spanish" : "french")];
  if (expected >= 2 && expected > Math.max(...others)) return 1;
  return (0.5 * expected) / Math.max(2, expected + Math.max(...others));
}

/** Whether the answer has a word of the topic, or a word that starts with the stem of one. */
function onTopic({ about }: Instruction, answer: string): boolean {
  const parts = wordParts(answer);
  return about.flatMap(wordParts).some((word) => {
    const stem = lower(word).replace(/(?<=.{4})(ing|ies|es|s|e|y)$/, "");
    return parts.some((part) =>
      stem.length > 3 ? part.startsWith(stem) : part === stem || part === `${stem}s`,
    );
  });
}

/** Whether an answer is too short, repetitive, words without grammar, or a copy of the instruction. */
function isDegenerate({ prompt, constraints }: Instruction, answer: string): boolean {
  const parts = wordParts(answer);
  const shortest = Math.min(4, ...constraints.map((c) => (c.kind === "maxWords" ? Math.ceil(c.n / 2) : 4)));
  const isShort = parts.length < shortest;
  const isRepetitive = parts.length > 12 && new Set(parts).size / parts.length < 0.4;
  const sentences = splitSentences(answer).map((sentence) => splitWords(lower(sentence)).join(" "));
  const repeatsSentence = new Set(sentences).size < sentences.length;
  const isList = constraints.some((c) => c.kind === "bullets" || c.kind === "numbered");
  const hasGrammar = parts.some((part) => Object.values(stopWords).some((language) => language.has(part)));
  const promptTriples = triples(wordParts(prompt));
  const answerTriples = triples(parts);
  const echoed = answerTriples.filter((triple) => promptTriples.includes(triple)).length;
  const isEcho = answerTriples.length > 0 && echoed > 0.7 * answerTriples.length;
  return isShort || isRepetitive || repeatsSentence || (parts.length > 6 && !isList && !hasGrammar) || isEcho;
}

const lower = (value: string): string => value.toLowerCase();

/** Splits text into words of letters and digits, with apostrophes and hyphens inside words. */
const splitWords = (value: string): string[] => value.match(/[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu) ?? [];

/** Splits text into lower-case words, also at apostrophes and hyphens: "l'eau" has the part "eau". */
const wordParts = (value: string): string[] => lower(value.normalize("NFC")).match(/[\p{L}\p{N}]+/gu) ?? [];

const stripMarker = (line: string): string => line.replace(/^\s*(?:- |\d+\. )/, "");

/** Splits text into sentences, which end in `.`, `?`, `!`, `…` or at the end of a line. */
function splitSentences(value: string): string[] {
  const pieces = value.split("\n").flatMap((line) => stripMarker(line).split(/(?<=[.!?…]["”')]*)\s+/));
  return pieces.filter((piece) => splitWords(piece).length > 0);
}

const triples = (parts: string[]): string[] => parts.slice(2).map((_, i) => parts.slice(i, i + 3).join(" "));
