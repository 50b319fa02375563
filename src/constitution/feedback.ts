import { z } from "zod";
import { allSequenceLogprobs } from "../batch/score.ts";
import { InputError, RemoteError } from "../data/errors.ts";
import type { Message } from "../data/records.ts";
import type { EndpointOptions } from "../http/endpoint.ts";
import { postAll } from "../http/post.ts";
import type { Model } from "../models/model.ts";
import { modelSampler } from "../rollout/generate.ts";
import type { Sampler } from "../rollout/sampler.ts";
import { serverSampler } from "../rollout/server.ts";
import { encodePrompt } from "../text/chat.ts";
import type { Constitution } from "./constitution.ts";

/** Feedback model, which criticises, revises and compares answers: a model in this process, or on a server. */
export interface Feedback {
  /** Name in logs. */
  name: string;
  /** Samples a text for each conversation. */
  write(prompts: readonly (readonly Message[])[], options: WriteOptions): Promise<string[]>;
  /**
   * Computes log P("A") − log P("B") of the next token of the assistant's answer to each conversation.
   * @param prefill start of the answer, after which the letter follows
   */
  logOdds(
    prompts: readonly (readonly Message[])[],
    prefill: string,
    options?: { signal?: AbortSignal | undefined; onProgress?: Progress | undefined },
  ): Promise<number[]>;
}

/** Called with how many are done, of how many. */
type Progress = (done: number, total: number) => void;

/** Sampling options of the feedback model. */
export interface WriteOptions {
  maxTokens: number;
  temperature: number;
  seed: number;
  signal?: AbortSignal | undefined;
  onProgress?: Progress | undefined;
}

/** Options of both phases: revision and preference. */
export interface PhaseOptions extends WriteOptions {
  constitution: Constitution;
  onPhase?: ((what: string) => void) | undefined;
}

/** Samples a text for each conversation. */
async function sampleTexts(
  sampler: Sampler,
  prompts: readonly (readonly Message[])[],
  options: WriteOptions,
): Promise<string[]> {
  const completions = await sampler.sample(prompts, options);
  return completions.map(({ text }) => text.trim());
}

/** Makes a feedback model of a model in this process. */
export function modelFeedback(model: Model, name: string): Feedback {
  const encode = (prompts: readonly (readonly Message[])[]) =>
    prompts.map((prompt) => encodePrompt(model.text, prompt));
  return {
    name,
    write(prompts, options) {
      return sampleTexts(modelSampler(model), prompts, options);
    },
    async logOdds(prompts, prefill, { signal, onProgress } = {}) {
      const prefillTokens = model.text.encode(prefill);
      const questions = encode(prompts).map((prompt) => [...prompt, ...prefillTokens]);
      const context = model.dimensions.context - 1;
      const long = questions.findIndex(({ length }) => length > context);
      if (long >= 0)
        throw new InputError(
          `${name}: question ${long + 1} has ${questions[long]?.length} tokens and the model's context is ${context}: leave long texts out`,
        );
      const [a = [], b = []] = ["A", "B"].map((letter) => model.text.encode(letter));
      const logOdds: number[] = [];
      for (let start = 0; start < questions.length; start += questionBatchSize) {
        signal?.throwIfAborted();
        const batch = questions.slice(start, start + questionBatchSize);
        const logprobs = allSequenceLogprobs(
          model,
          batch.flatMap((prompt) => [a, b].map((tokens) => ({ promptTokens: prompt, tokens }))),
        );
        batch.forEach((_, i) => logOdds.push((logprobs[2 * i] as number) - (logprobs[2 * i + 1] as number)));
        onProgress?.(logOdds.length, questions.length);
        await new Promise((resolve) => setImmediate(resolve)); // lets signal handlers run
      }
      return logOdds;
    },
  };
}

/** Questions computed together. */
const questionBatchSize = 16;

const reply = z.object({
  choices: z
    .array(
      z.object({
        logprobs: z.object({
          content: z
            .array(z.object({ top_logprobs: z.array(z.object({ token: z.string(), logprob: z.number() })) }))
            .min(1),
        }),
      }),
    )
    .min(1),
});

/** Makes a feedback model of an OpenAI-compatible server. */
export function serverFeedback({
  url,
  model,
  key,
}: Pick<EndpointOptions, "url" | "model" | "key">): Feedback {
  const address = `${url.replace(/\/$/, "")}/chat/completions`;
  return {
    name: model,
    write: (prompts, options) => sampleTexts(serverSampler({ url, model, key }), prompts, options),
    async logOdds(prompts, prefill, { signal, onProgress } = {}) {
      const bodies = prompts.map((messages) => ({
        model,
        max_tokens: 1,
        temperature: 0,
        logprobs: true,
        top_logprobs: 20,
        messages: [...messages, { role: "assistant", content: prefill }],
      }));
      const texts = await postAll(address, bodies, { timeoutSeconds: 120, key, signal }, onProgress);
      const answers = texts.map((text) => readTopTokens(text, address));
      const undecided = answers.filter((tops) => !["A", "B"].some((letter) => findLetter(tops, letter)));
      if (undecided.length > answers.length / 2)
        throw new RemoteError(
          `${model} at ${address} answers ${undecided.length} of ${answers.length} questions with neither A nor B, but with ${JSON.stringify(undecided[0]?.[0]?.token ?? "")}: it does not follow the question; choose another judge`,
        );
      return answers.map(letterLogOdds);
    },
  };
}

type TopTokens = readonly { token: string; logprob: number }[];

/** Reads the likeliest first tokens of a server's answer. @throws RemoteError when it returns no log-probabilities */
function readTopTokens(text: string, address: string): TopTokens {
  try {
    return reply.parse(JSON.parse(text)).choices[0]?.logprobs.content[0]?.top_logprobs ?? [];
  } catch {
    throw new RemoteError(
      `${address} gives no log-probabilities (logprobs, top_logprobs), which preferences are made of: ${text.slice(0, 300)}`,
    );
  }
}

const findLetter = (tops: TopTokens, letter: string) => tops.find(({ token }) => token.trim() === letter);

/**
 * Computes the log-odds of A and B. A letter that is not among the likeliest tokens gets the log-probability of the last of
 * them, its upper bound.
 */
function letterLogOdds(tops: TopTokens): number {
  const least = Math.min(0, ...tops.map(({ logprob }) => logprob));
  const logprob = (letter: string) => findLetter(tops, letter)?.logprob ?? least;
  return logprob("A") - logprob("B");
}
