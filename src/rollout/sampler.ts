import type { Row } from "../batch/pack.ts";
import type { Message } from "../data/records.ts";

/** A prompt to sample from: a user's message, a conversation, which the model's chat template writes, or token ids. */
export type SamplePrompt = string | readonly Message[] | readonly number[];

const isTokens = (prompt: SamplePrompt): prompt is readonly number[] => typeof prompt[0] === "number";

/** The conversation of a prompt; undefined for token ids. */
export function conversationOf(prompt: SamplePrompt): readonly Message[] | undefined {
  if (typeof prompt === "string") return [{ role: "user", content: prompt }];
  return isTokens(prompt) ? undefined : prompt;
}

/** Sampling options. A server is sent those that its protocol knows: `temperature`, `maxTokens` and `seed`. */
export interface SampleOptions {
  /** Divides the logits; 0 takes the likeliest token. A list gives each of a prompt's completions its own. */
  temperature?: number | readonly number[] | undefined;
  /** Samples among this many likeliest tokens. */
  topK?: number | undefined;
  /** Samples among the likeliest tokens that together have this probability. */
  topP?: number | undefined;
  /** Most tokens of a completion, its stop token included. */
  maxTokens: number;
  /** Stop tokens are not sampled before this many tokens. */
  minTokens?: number | undefined;
  /** Texts that end a completion; they are cut from its text. */
  stop?: readonly string[] | undefined;
  /** Completions of each prompt. */
  samples?: number | undefined;
  /** Completions decoded together. */
  batchSize?: number | undefined;
  /** Seed of the sampling. Default: 0. */
  seed?: number | undefined;
  /** Aborting it ends the sampling with an `AbortError`. */
  signal?: AbortSignal | undefined;
  /** Called when completions end: how many have ended, of how many. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * A sampled completion. Later steps extend this object (with a score, an advantage) in place of keeping parallel arrays.
 */
export interface Completion extends Row {
  /** Index of its prompt in the list of prompts. */
  promptIndex: number;
  promptTokens: readonly number[];
  /** Sampled token ids, including the stop token if there is one. Empty from a server, which returns text only. */
  tokens: number[];
  /** Log-probability of each token under the distribution that it was sampled from. */
  logprobs: number[];
  /** For each token 1 if the model sampled it, 0 if it was inserted. The engine inserts none. */
  mask: number[];
  /** Decoded text, without the stop token or stop text. */
  text: string;
  /** Why it ended: "stop" at a stop token or stop text, "length" at its most tokens. Null while it is decoded. */
  finishReason: "stop" | "length" | null;
}

/** Whether a completion ended at a stop token or stop text, not at its most tokens. */
export const isFinished = ({ finishReason }: Pick<Completion, "finishReason">): boolean =>
  finishReason === "stop";

/** Source of completions: a model in this process, or a server. */
export interface Sampler {
  /**
   * Samples completions of prompts.
   * @returns completions in the order of the prompts, all completions of a prompt together
   * @throws InputError when a prompt leaves no room for a completion
   */
  sample(prompts: readonly SamplePrompt[], options: SampleOptions): Promise<Completion[]>;
}
