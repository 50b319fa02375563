import type { Message } from "../data/records.ts";
import { mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";

/** A response to be scored. */
export interface Sample {
  prompt: Message[];
  response: string;
  finished: boolean;
  /** The prompt's, where the data has one. */
  id?: string | undefined;
  /** What else the prompt's row in the data has: a right answer, tests. */
  metadata?: Record<string, unknown> | undefined;
}

/** A reward as a program: a number for a completion, higher is better. */
export type RewardFunction = (
  prompt: Message[],
  completion: string,
  metadata: Record<string, unknown>,
) => number | Promise<number>;

/** What scores responses: a model, a program, or a weighted sum of such. */
export interface Reward {
  /** @throws InputError when a part gives no finite number for each sample */
  score(samples: readonly Sample[], signal?: AbortSignal): Promise<Scores>;
  /** The reward model, where it is one and nothing else: a critic can begin from it. */
  readonly model: Model | undefined;
  /** Frees what was loaded for it. */
  dispose(): void;
}

export interface Scores {
  /** One for each sample. */
  total: number[];
  /** The same of each part by its name, before its weight. */
  parts: Record<string, number[]>;
}

/** Mean score of each part of a reward that has several, by the metric's name. */
export function meansOf(parts: Scores["parts"]): Record<string, number> {
  const named = Object.entries(parts);
  if (named.length < 2) return {};
  return Object.fromEntries(named.map(([name, scores]) => [`rewards/${name}`, mean(scores)]));
}
