import { InputError } from "../data/errors.ts";
import { type Batch, keyAlignment } from "../models/attention.ts";
import { tensor } from "../tensor/index.ts";

/** A prompt and a response to it, as token ids. */
export interface Row {
  promptTokens: readonly number[];
  tokens: readonly number[];
  /** 1 for each response token to learn from, 0 for one that was given, such as a tool's result. Default: all 1. */
  mask?: readonly number[];
}

/** Counts the tokens of all prompts and responses. */
export const countTokens = (rows: readonly Row[]): number =>
  rows.reduce((sum, { promptTokens: prompt, tokens: response }) => sum + prompt.length + response.length, 0);

/** Counts the response tokens to learn from. */
export const countLearned = (rows: readonly Row[]): number =>
  rows.reduce((sum, { tokens, mask }) => sum + (mask ? mask.reduce((a, b) => a + b, 0) : tokens.length), 0);

/** Packs sequences of token ids end to end, without padding. @throws InputError for an empty sequence */
export function pack(sequences: readonly (readonly number[])[]): Batch {
  return packSharing(
    sequences.map((promptTokens) => ({ promptTokens, tokens: [] })),
    0,
  ).batch;
}

/**
 * Packs prompts with their responses end to end, without padding. What all prompts begin with, such as a system prompt, is
 * packed once. Consecutive rows with the same prompt share one copy of it where that saves time: their responses become
 * branches. Both give the same numbers for less work.
 * @returns `batch`; `packedIndex(row, t)`: index in the batch of token `t` of a row, counted from the prompt's first
 * @throws InputError for an empty prompt
 */
export const packRows = (rows: readonly Row[]): PackedRows => packSharing(rows, sharedPrefix(rows));

interface PackedRows {
  batch: Batch;
  packedIndex: (row: number, t: number) => number;
}

/**
 * Counts the tokens that the prompts of all rows begin with, down to a multiple of the attention's key alignment. At least
 * one token of each prompt is not shared. 0 if all rows have the same prompt, which is shared as a whole.
 */
function sharedPrefix(rows: readonly Row[]): number {
  const [first = [], ...others] = new Set(rows.map(({ promptTokens }) => promptTokens));
  let common = first.length;
  let shortest = first.length;
  for (const prompt of others) {
    const end = first.findIndex((id, i) => i >= common || id !== prompt[i]);
    if (end >= 0) common = end;
    shortest = Math.min(shortest, prompt.length);
  }
  if ([first, ...others].every(({ length }) => length === common)) return 0;
  return Math.max(0, Math.floor(Math.min(common, shortest - 1) / keyAlignment) * keyAlignment);
}

function packSharing(rows: readonly Row[], prefix: number): PackedRows {
  const ids: number[] = [];
  const positions: number[] = [];
  const lengths: number[] = [];
  const branches: number[][] = [];
  const starts: { prompt: number; response: number }[] = [];
  let [least, greatest, last] = [Infinity, -Infinity, -1];
  /** Adds `tokens` [from, to). The position of the first of `tokens` in its conversation is `position`. */
  const add = (tokens: readonly number[], position: number, from = 0, to = tokens.length) => {
    for (let i = from; i < to; i++) {
      const id = tokens[i] as number;
      ids.push(id);
      positions.push(position + i);
      least = Math.min(least, id);
      greatest = Math.max(greatest, id);
      last = Math.max(last, position + i);
    }
  };
  if (prefix) add((rows[0] as Row).promptTokens, 0, 0, prefix);
  for (const [i, row] of rows.entries()) {
    const { promptTokens: prompt, tokens: response } = row;
    if (prompt.length === 0)
      throw new InputError("a prompt has no tokens: give it at least one, such as the tokenizer's bos_token");
    if (!sharesPrompt(row, rows[i - 1], lengths.at(-1) ?? 0)) {
      const unshared = prompt.length - prefix;
      starts.push({ prompt: ids.length, response: ids.length + unshared });
      add(prompt, 0, prefix);
      lengths.push(unshared);
      branches.push([]);
    } else starts.push({ prompt: (starts.at(-1) as { prompt: number }).prompt, response: ids.length });
    add(response, prompt.length);
    lengths[lengths.length - 1] = (lengths.at(-1) as number) + response.length;
    branches.at(-1)?.push(response.length);
  }
  const int64 = (values: number[]) => tensor(values, { dtype: "int64" });
  return {
    batch: {
      ids: int64(ids),
      positions: int64(positions),
      extent: { ids: [least, greatest], position: last },
      prefix,
      lengths,
      branches: branches.map((sizes) => sizes.filter((size) => size > 0)),
    },
    packedIndex(row, t) {
      const { prompt, response } = starts[row] as { prompt: number; response: number };
      const length = (rows[row] as Row).promptTokens.length;
      if (t < prefix) return t;
      return t < length ? prompt + t - prefix : response + t - length;
    },
  };
}

/** Pairs of tokens whose attention takes as long as the rest of the model takes for one token: measured, some hundreds. */
const pairsPerToken = 500;

/**
 * Whether a row should share the prompt of the previous row, as a branch of its sequence. That saves computing the
 * prompt again, but attention in a sequence with branches costs time for every pair of tokens, those of different
 * branches included.
 * @param length tokens of the sequence so far
 */
function sharesPrompt(
  { promptTokens: prompt, tokens: response }: Row,
  previous: Row | undefined,
  length: number,
): boolean {
  const added = response.length;
  if (!added || !previous?.tokens.length) return false;
  if (prompt.length * pairsPerToken < 2 * length * added + added * added) return false;
  return (
    previous.promptTokens === prompt ||
    (previous.promptTokens.length === prompt.length &&
      previous.promptTokens.every((id, i) => id === prompt[i]))
  );
}

/** Splits rows, in their order, into batches that pack into at most `tokens` tokens. A longer row makes a batch by itself. */
export function batchRows<T extends Row>(rows: readonly T[], tokens: number): T[][] {
  const batches: T[][] = [];
  let room = 0;
  let sequence = 0;
  for (const row of rows) {
    const whole = row.promptTokens.length + row.tokens.length;
    const shared = sharesPrompt(row, batches.at(-1)?.at(-1), sequence);
    const cost = shared ? row.tokens.length : whole;
    if (cost > room || !batches.length) {
      batches.push([]);
      room = tokens - whole;
      sequence = whole;
    } else {
      room -= cost;
      sequence = shared ? sequence + cost : whole;
    }
    batches.at(-1)?.push(row);
  }
  return batches;
}
