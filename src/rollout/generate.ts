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
  /** Random generator in place of `seed`; sampling advances it. */
  rng?: Rng | undefined;
  /** Called at each step with the hidden states (rows, hidden) that the rows' next tokens are sampled from. */
  onStates?: ((hidden: Tensor, rows: readonly Completion[]) => void) | undefined;
}

/**
 * Completions as they grow: every step yields those that got a token in it, the same objects throughout. Prompts that
 * wait take the places of completions that have ended.
 * @param prompts token ids
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
      const grown = engine.step();
      const ended = grown.filter(({ finishReason }) => finishReason !== null).length;
      done += ended;
      if (ended) onProgress?.(done, prompts.length * samples);
      yield grown;
    }
  } finally {
    engine.dispose();
    if (!options.rng) rng.dispose();
  }
}

/**
 * Samples completions of prompts (token ids), in the prompts' order, all of one together, `batchSize` at a time.
 * @throws InputError when a prompt does not fit the model's context
 */
export async function generate(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Promise<Completion[]> {
  const completions = new Set<Completion>();
  for (const grown of decode(model, prompts, options)) {
    for (const completion of grown) completions.add(completion);
    await setImmediate(); // lets a signal in
    options.signal?.throwIfAborted();
  }
  return [...completions];
}

/** Token ids of a prompt: conversations as the model's chat template writes them, ids as they are. */
function encode(model: Model, prompt: SamplePrompt): readonly number[] {
  const conversation = conversationOf(prompt);
  return conversation ? encodePrompt(model.text, conversation) : (prompt as readonly number[]);
}

/** A sampler on a model in this process. @param fixed options that every call takes */
export const modelSampler = (
  model: Model,
  fixed: Pick<GenerateOptions, "rng" | "onStates"> = {},
): Sampler => ({
  sample: (prompts, options) =>
    generate(
      model,
      prompts.map((prompt) => encode(model, prompt)),
      { ...options, ...fixed },
    ),
});
