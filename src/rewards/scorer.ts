import type { Message, Prompt } from "../data/records.ts";
import { mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";

/** An answer to score: a prompt of the data, and the text of a completion. */
export interface Answer extends Prompt {
  text: string;
}

/**
 * A programmed reward: returns the score of a completion; higher is better. `metadata` has the other fields of the
 * prompt's row.
 */
export type RewardFunction = (
  prompt: Message[],
  completion: string,
  metadata: Record<string, unknown>,
) => number | Promise<number>;

/** The score of an answer. */
export interface Score {
  /** Reward: the weighted sum of the parts. */
  score: number;
  /** Score of each part of the reward by its name, before its weight. */
  parts: Record<string, number>;
  /** Standard deviation of the scores of an ensemble's members; undefined without an ensemble. */
  disagreement?: number;
  /**
   * How far the answer is from those that a single reward model learned from: the Mahalanobis distance of its last hidden
   * state, in standard deviations above that of held-out answers. Undefined without such a model.
   */
  distance?: number;
}

/** Source of rewards: a reward model, a program, or a weighted sum of several. */
export interface Scorer {
  /**
   * Scores answers. @returns scores in the order of the answers
   * @throws InputError when a part does not return a finite number for each answer
   */
  score(answers: readonly Answer[], signal?: AbortSignal): Promise<Score[]>;
  /** The reward model, or the first of an ensemble, if it is the only part: a critic can be initialised from it. */
  readonly model: Model | undefined;
  /** Frees the models that were loaded for it. */
  dispose(): void;
}

/**
 * Computes the mean score of each part as the metric `rewards/<name>`, for a reward of several, and the means of
 * disagreement and distance, where there are any.
 */
export function meanParts(scores: readonly Score[]): Record<string, number> {
  const names = Object.keys(scores[0]?.parts ?? {});
  const disagreement = scores.flatMap((score) => score.disagreement ?? []);
  const distance = scores.flatMap((score) => score.distance ?? []);
  return {
    ...(names.length > 1 &&
      Object.fromEntries(
        names.map((name) => [`rewards/${name}`, mean(scores.map(({ parts }) => parts[name] as number))]),
      )),
    ...(disagreement.length && { "rewards/disagreement": mean(disagreement) }),
    ...(distance.length && { "rewards/distance": mean(distance) }),
  };
}
