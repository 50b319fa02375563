import { setImmediate } from "node:timers/promises";
import type { Model } from "../models/model.ts";
import { Rng, type Tensor } from "../tensor/index.ts";
import { encodePrompt } from "../text/chat.ts";
import { Engine } from "./engine.ts";
import {
  type Completion,
  conversationOf,
  type SampleOptions,
  type SamplePrompt,
  type Sampler,
} from "./sampler.ts";

export interface GenerateOptions extends SampleOptions {
  /** Ids that end a completion. Default: the tokenizer's. */
  stopIds?: readonly number[] | undefined;
  /** Random generator to use in place of `seed`. Sampling advances its state. */
  rng?: Rng | undefined;
  /** Called at each step with the hidden states (rows, hidden) that the rows' next tokens are sampled from. */
  onStates?: ((hidden: Tensor, rows: readonly Completion[]) => void) | undefined;
}

/**
 * Samples completions and streams them: each step yields the completions that got a token, the same objects every time.
 * Prompts beyond `batchSize` wait and start as completions end.
 * @param prompts token ids of each prompt
 * @throws InputError when a prompt does not fit the model's context
 */
export function* decode(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Generator<Completion[]> {
  if (!prompts.length) return;
  const { samples = 1, batchSize = 64, maxTokens, onStates, onProgress } = options;
  const longest = Math.max(...prompts.map(({ length }) => length));
  const promptsAtOnce = Math.min(prompts.length, Math.max(1, Math.floor(batchSize / samples)));
  const rng = options.rng ?? new Rng(options.seed ?? 0);
  const capacity = longest + maxTokens;
  const engine = new Engine(model, { rows: promptsAtOnce * samples, capacity, rng, onStates });
  try {
    prompts.forEach((promptTokens, promptIndex) => {
      engine.add({ ...options, promptTokens, promptIndex, samples });
    });
    let done = 0;
    while (!engine.isIdle) {
      const updated = engine.step();
      const ended = updated.filter(({ finishReason }) => finishReason !== null).length;
      done += ended;
      if (ended) onProgress?.(done, prompts.length * samples);
      yield updated;
    }
  } finally {
    engine.dispose();
    if (!options.rng) rng.dispose();
  }
}

/**
 * Samples completions of prompts, `batchSize` at a time.
 * @param prompts token ids of each prompt
 * @returns completions in the order of the prompts, all completions of a prompt together
 * @throws InputError when a prompt does not fit the model's context
 */
export async function generate(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Promise<Completion[]> {
  const completions = new Set<Completion>();
  for (const updated of decode(model, prompts, options)) {
    for (const completion of updated) completions.add(completion);
    await setImmediate(); // lets signal handlers run
    options.signal?.throwIfAborted();
  }
  return [...completions];
}

/** Token ids of a prompt: conversations as the model's chat template writes them, ids as they are. */
function encode(model: Model, prompt: SamplePrompt): readonly number[] {
  const conversation = conversationOf(prompt);
  return conversation ? encodePrompt(model.text, conversation) : (prompt as readonly number[]);
}

/**
 * Makes a sampler of a model in this process.
 * @param overrides options that replace those of every call
 */
export const modelSampler = (
  model: Model,
  overrides: Pick<GenerateOptions, "rng" | "onStates"> = {},
): Sampler => ({
  sample: (prompts, options) =>
    generate(
      model,
      prompts.map((prompt) => encode(model, prompt)),
      { ...options, ...overrides },
    ),
});
