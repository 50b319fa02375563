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

/** How completions are sampled. A server honours what its protocol has of it. */
export interface SampleOptions {
  /** Divides the logits; 0 takes the likeliest token. A list gives each of a prompt's completions its own. */
  temperature?: number | readonly number[] | undefined;
  /** Samples among this many likeliest tokens. */
  topK?: number | undefined;
  /** Samples among the likeliest tokens that together have this probability. */
  topP?: number | undefined;
  /** Most tokens of a completion, its stop token included. */
  maxTokens: number;
  /** Stop tokens are not drawn before this many. */
  minTokens?: number | undefined;
  /** Texts that end a completion; they are cut from its text. */
  stop?: readonly string[] | undefined;
  /** Completions of each prompt. */
  samples?: number | undefined;
  /** Completions decoded together. */
  batchSize?: number | undefined;
  seed?: number | undefined;
  signal?: AbortSignal | undefined;
  /** Called with how many completions have ended, of how many. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * One sampled answer, as the sampler knows it. It stays one object from the sampler to the loss: what is known later (a
 * score, an advantage) is added beside it.
 */
export interface Completion extends Row {
  /** Index of the prompt that it answers, among those sampled from. */
  promptIndex: number;
  promptTokens: readonly number[];
  /** Sampled ids, with the stop token when there is one. Empty where a server gives texts alone. */
  tokens: number[];
  /** Log-probability of each token under the distribution that it was sampled from. */
  logprobs: number[];
  /** 1 for each token that was sampled, 0 for one that was given. */
  mask: number[];
  /** The decoded tokens, without stop token or stop text. */
  text: string;
  /** Why it ended: a stop token or text, or its longest length. Null while it grows. */
  finishReason: "stop" | "length" | null;
}

/** Whether a completion ended by itself. */
export const isFinished = ({ finishReason }: Pick<Completion, "finishReason">): boolean =>
  finishReason === "stop";

/** What completes prompts: a model in this process, or a server. */
export interface Sampler {
  /**
   * Samples completions, in the prompts' order, all completions of a prompt together.
   * @throws InputError when a prompt leaves no room for a completion
   */
  sample(prompts: readonly SamplePrompt[], options: SampleOptions): Promise<Completion[]>;
}
