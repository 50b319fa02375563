import type { Comparison, Message } from "../data/records.ts";
import type { Model } from "../models/model.ts";
import { tensor } from "../tensor/index.ts";
import { encodeExample } from "../text/chat.ts";
import type { Row } from "./pack.ts";

/** A pair of completions of one prompt. `better` and `worse` are indices into the `rows` of its group. */
export interface Pair {
  better: number;
  worse: number;
  /** By how much the better one should win, in units of the score (Touvron et al. 2023, §3.2.2). */
  margin: number;
  /** Difference of the ranks. */
  strength: number;
  /** Weight in the loss: the reliability of the labeler. */
  weight: number;
  /** Probability that `better` is the better one: below 1 for a soft label. */
  probability: number;
  labeler?: string | undefined;
}

/** A prompt with its completions and their pairs. A completion that is in several rankings is one row. */
export interface Group {
  prompt: Message[];
  rows: Row[];
  pairs: Pair[];
}

/**
 * Groups rankings by prompt and encodes their completions. Ties and rankings of weight 0 make no pairs.
 * @param maxLength most tokens of prompt and completion; longer ones are left out
 * @returns `groups` with at least one pair; `tooLong`: number of completions left out
 */
export function groupByPrompt(
  model: Model,
  comparisons: readonly Comparison[],
  maxLength: number,
): { groups: Group[]; tooLong: number } {
  const groups = new Map<string, Group & { rowByCompletion: Map<string, number> }>();
  let tooLong = 0;
  for (const {
    prompt,
    completions,
    ranks,
    margins = 0,
    weight = 1,
    probability = 1,
    labeler,
  } of comparisons) {
    const key = JSON.stringify(prompt);
    const group = groups.get(key) ?? {
      prompt,
      rows: [],
      pairs: [],
      rowByCompletion: new Map<string, number>(),
    };
    groups.set(key, group);
    const rows = completions.map((completion) => {
      const known = group.rowByCompletion.get(completion);
      if (known !== undefined) return known;
      const row = encodeExample(model.text, prompt, completion);
      if (row.promptTokens.length + row.tokens.length > maxLength) {
        tooLong++;
        return undefined;
      }
      group.rowByCompletion.set(completion, group.rows.length);
      return group.rows.push(row) - 1;
    });
    rows.forEach((better, i) => {
      rows.forEach((worse, j) => {
        const strength = (ranks[j] as number) - (ranks[i] as number);
        if (strength > 0 && weight > 0 && better !== undefined && worse !== undefined && better !== worse)
          group.pairs.push({ better, worse, margin: margins, strength, weight, probability, labeler });
      });
    });
  }
  return { groups: [...groups.values()].filter((group) => group.pairs.length), tooLong };
}

/**
 * Makes the tensors of a pairwise loss from the pairs of several groups. A pair with a soft label becomes two, one in
 * each order, weighted by their probabilities: the loss is then its expectation (Bai et al. 2022, §4.1; Mitchell 2023).
 * @param prompts number of prompts that the loss is a mean over: those of the whole batch, where `groups` is a part of it
 * @returns `better` and `worse`: (pairs) int64 indices into the rows of all groups, laid end to end; `weights`: (pairs),
 * with a sum of 1 / `prompts` for each prompt whose labelers are fully trusted; `margins`: (pairs)
 */
export function pairTensors(groups: readonly Group[], prompts = groups.length) {
  const better: number[] = [];
  const worse: number[] = [];
  const weights: number[] = [];
  const margins: number[] = [];
  let start = 0; // index of the group's first row
  for (const { rows, pairs } of groups) {
    const add = (good: number, bad: number, weight: number, margin: number) => {
      better.push(start + good);
      worse.push(start + bad);
      weights.push(weight / pairs.length / prompts);
      margins.push(margin);
    };
    for (const { better, worse, weight, probability, margin } of pairs) {
      add(better, worse, weight * probability, margin);
      if (probability < 1) add(worse, better, weight * (1 - probability), margin);
    }
    start += rows.length;
  }
  const int64 = (values: number[]) => tensor(values, { dtype: "int64" });
  return { better: int64(better), worse: int64(worse), weights: tensor(weights), margins: tensor(margins) };
}

/** Converts sums under weights, as pairwise losses return them, to means. @param sums with the sum of the weights, `weight` */
export function toMeans({ weight, ...sums }: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / (weight as number)]));
}

/**
 * Splits groups, in their order, into micro-batches of at most `tokens` tokens. A group is never split: one that is
 * larger makes a micro-batch by itself. A prompt counts once for all its completions.
 */
export function batchGroups<T extends { rows: readonly Row[] }>(groups: readonly T[], tokens: number): T[][] {
  const batches: T[][] = [];
  let room = 0;
  for (const group of groups) {
    const size = group.rows.reduce(
      (sum, { tokens: response }) => sum + response.length,
      group.rows[0]?.promptTokens.length ?? 0,
    );
    if (size > room || !batches.length) {
      batches.push([]);
      room = tokens;
    }
    room -= size;
    batches.at(-1)?.push(group);
  }
  return batches;
}
