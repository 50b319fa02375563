import type { Message, Prompt } from "../data/records.ts";
import { mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";

/** What a reward scores: a prompt of the data, with the text of an answer to it. */
export interface Answer extends Prompt {
  text: string;
}

/** A reward as a program: a number for a completion, higher is better. */
export type RewardFunction = (
  prompt: Message[],
  completion: string,
  metadata: Record<string, unknown>,
) => number | Promise<number>;

/** The score of an answer. */
export interface Score {
  /** Weighted sum of the parts. */
  score: number;
  /** Score of each part of the reward by its name, before its weight. */
  parts: Record<string, number>;
}

/** What scores answers: a model, a program, or a weighted sum of such. */
export interface Scorer {
  /**
   * Scores answers, in their order.
   * @throws InputError when a part gives no finite number for each answer
   */
  score(answers: readonly Answer[], signal?: AbortSignal): Promise<Score[]>;
  /** The reward model, where the reward is one model and nothing else: a critic can begin from it. */
  readonly model: Model | undefined;
  /** Frees what was loaded for it. */
  dispose(): void;
}

/** Mean score of each part of a reward that has several, by the metric's name. */
export function meanParts(scores: readonly Score[]): Record<string, number> {
  const names = Object.keys(scores[0]?.parts ?? {});
  if (names.length < 2) return {};
  return Object.fromEntries(
    names.map((name) => [`rewards/${name}`, mean(scores.map(({ parts }) => parts[name] as number))]),
  );
}
