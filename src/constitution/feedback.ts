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

/** What criticises, revises and compares: a model here, or a server. */
export interface Feedback {
  /** What it is called in logs. */
  name: string;
  write(prompts: readonly (readonly Message[])[], options: WriteOptions): Promise<string[]>;
  /**
   * log P(A) − log P(B) of what the assistant says next.
   * @param begun what it has said of its answer so far: the letter comes next
   */
  logOdds(
    prompts: readonly (readonly Message[])[],
    begun: string,
    options?: { signal?: AbortSignal | undefined; onProgress?: Progress | undefined },
  ): Promise<number[]>;
}

type Progress = (done: number, total: number) => void;

export interface WriteOptions {
  maxTokens: number;
  temperature: number;
  seed: number;
  signal?: AbortSignal | undefined;
  onProgress?: Progress | undefined;
}

/** What both phases are asked with. */
export interface PhaseOptions extends WriteOptions {
  constitution: Constitution;
  onPhase?: ((what: string) => void) | undefined;
}

async function writeBy(
  sampler: Sampler,
  prompts: readonly (readonly Message[])[],
  options: WriteOptions,
): Promise<string[]> {
  const completions = await sampler.sample(prompts, options);
  return completions.map(({ text }) => text.trim());
}

/** Feedback by a model of ours. */
export function feedbackByModel(model: Model, name: string): Feedback {
  const encode = (prompts: readonly (readonly Message[])[]) =>
    prompts.map((prompt) => encodePrompt(model.text, prompt));
  return {
    name,
    write(prompts, options) {
      return writeBy(modelSampler(model), prompts, options);
    },
    async logOdds(prompts, begun, { signal, onProgress } = {}) {
      const said = model.text.encode(begun);
      const asked = encode(prompts).map((prompt) => [...prompt, ...said]);
      const context = model.dimensions.context - 1;
      const long = asked.findIndex(({ length }) => length > context);
      if (long >= 0)
        throw new InputError(
          `${name}: question ${long + 1} has ${asked[long]?.length} tokens and the model's context is ${context}: leave long texts out`,
        );
      const [a = [], b = []] = ["A", "B"].map((letter) => model.text.encode(letter));
      const odds: number[] = [];
      for (let start = 0; start < asked.length; start += questionsAtOnce) {
        signal?.throwIfAborted();
        const some = asked.slice(start, start + questionsAtOnce);
        const logprobs = allSequenceLogprobs(
          model,
          some.flatMap((prompt) => [a, b].map((tokens) => ({ promptTokens: prompt, tokens }))),
        );
        some.forEach((_, i) => odds.push((logprobs[2 * i] as number) - (logprobs[2 * i + 1] as number)));
        onProgress?.(odds.length, asked.length);
        await new Promise((resolve) => setImmediate(resolve)); // lets a signal in
      }
      return odds;
    },
  };
}

const questionsAtOnce = 16;

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

/** Feedback by an OpenAI-compatible server. */
export function feedbackByServer({
  url,
  model,
  key,
}: Pick<EndpointOptions, "url" | "model" | "key">): Feedback {
  const address = `${url.replace(/\/$/, "")}/chat/completions`;
  return {
    name: model,
    write: (prompts, options) => writeBy(serverSampler({ url, model, key }), prompts, options),
    async logOdds(prompts, begun, { signal, onProgress } = {}) {
      const bodies = prompts.map((messages) => ({
        model,
        max_tokens: 1,
        temperature: 0,
        logprobs: true,
        top_logprobs: 20,
        messages: [...messages, { role: "assistant", content: begun }],
      }));
      const texts = await postAll(address, bodies, { timeoutSeconds: 120, key, signal }, onProgress);
      return texts.map((text) => oddsOf(text, address));
    },
  };
}

/** From a server's likeliest tokens; a letter that is not among them is as likely as the last of them at most. */
function oddsOf(text: string, address: string): number {
  let tops: { token: string; logprob: number }[];
  try {
    tops = reply.parse(JSON.parse(text)).choices[0]?.logprobs.content[0]?.top_logprobs ?? [];
  } catch {
    throw new RemoteError(
      `${address} gives no log-probabilities (logprobs, top_logprobs), which preferences are made of: ${text.slice(0, 300)}`,
    );
  }
  const least = Math.min(0, ...tops.map(({ logprob }) => logprob));
  const of = (letter: string) => tops.find(({ token }) => token.trim() === letter)?.logprob ?? least;
  return of("A") - of("B");
}
