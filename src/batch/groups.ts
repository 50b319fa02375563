import type { Comparison, Message } from "../data/records.ts";
import type { Model } from "../models/model.ts";
import { tensor } from "../tensor/index.ts";
import { encodeExample } from "../text/chat.ts";
import type { Row } from "./pack.ts";

/** One pair: `better` and `worse` are places among the group's rows. */
export interface Pair {
  better: number;
  worse: number;
  margin: number;
  /** By how many places the ranks differ. */
  strength: number;
  /** How much it counts: how far its labeler can be trusted. */
  weight: number;
  /** How likely it is the right way round. */
  probability: number;
  labeler?: string | undefined;
}

/** All that is known of one prompt: each completion once, however many rankings it is in. */
export interface Group {
  prompt: Message[];
  rows: Row[];
  pairs: Pair[];
}

/** Rankings gathered by prompt. Ties make no pair, nor do those of weight 0; completions over `maxLength` tokens are left out and counted. */
export function groupByPrompt(
  model: Model,
  comparisons: readonly Comparison[],
  maxLength: number,
): { groups: Group[]; tooLong: number } {
  const groups = new Map<string, Group & { places: Map<string, number> }>();
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
    const group = groups.get(key) ?? { prompt, rows: [], pairs: [], places: new Map<string, number>() };
    groups.set(key, group);
    const places = completions.map((completion) => {
      const known = group.places.get(completion);
      if (known !== undefined) return known;
      const row = encodeExample(model.text, prompt, completion);
      if (row.promptTokens.length + row.tokens.length > maxLength) {
        tooLong++;
        return undefined;
      }
      group.places.set(completion, group.rows.length);
      return group.rows.push(row) - 1;
    });
    places.forEach((better, i) => {
      places.forEach((worse, j) => {
        const strength = (ranks[j] as number) - (ranks[i] as number);
        if (strength > 0 && weight > 0 && better !== undefined && worse !== undefined && better !== worse)
          group.pairs.push({ better, worse, margin: margins, strength, weight, probability, labeler });
      });
    });
  }
  return { groups: [...groups.values()].filter((group) => group.pairs.length), tooLong };
}

/**
 * The pairs of some groups for a loss: places among all their rows (int64), weights that give each prompt the same say
 * as its share of `prompts`, less where its labelers are trusted less, and margins. A pair that is not certain is there
 * both ways round, each as often as it is likely: the loss expected (Bai et al. 2022, §4.1; Mitchell 2023).
 */
export function pairTensors(groups: readonly Group[], prompts = groups.length) {
  const better: number[] = [];
  const worse: number[] = [];
  const weights: number[] = [];
  const margins: number[] = [];
  let start = 0;
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
  const int = (values: number[]) => tensor(values, { dtype: "int64" });
  return { better: int(better), worse: int(worse), weights: tensor(weights), margins: tensor(margins) };
}

/** Groups that follow each other, together while their prompts and completions make at most `tokens` tokens; none is parted. */
export function batchGroups<T extends { rows: readonly Row[] }>(groups: readonly T[], tokens: number): T[][] {
  const parts: T[][] = [];
  let room = 0;
  for (const group of groups) {
    const size = group.rows.reduce(
      (sum, { tokens: response }) => sum + response.length,
      group.rows[0]?.promptTokens.length ?? 0,
    );
    if (size > room || !parts.length) {
      parts.push([]);
      room = tokens;
    }
    room -= size;
    parts.at(-1)?.push(group);
  }
  return parts;
}
