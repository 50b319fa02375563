import { setImmediate } from "node:timers/promises";
import { tokenLogprobs } from "../batch/score.ts";
import type { Prompt } from "../data/records.ts";
import type { Model } from "../models/model.ts";
import { modelSampler } from "../rollout/generate.ts";
import { type Completion, isFinished, type SampleOptions } from "../rollout/sampler.ts";
import { responseKl } from "./evaluate.ts";
import type { PolicyAnswer } from "./policies.ts";

interface AnswerOptions extends SampleOptions {
  temperature?: number | undefined;
  /** Measures each answer's KL to this model, which has the same vocabulary, and its log-probability under it. */
  reference?: Model | undefined;
}

/** Lets a model answer prompts. @returns answers in the order of the prompts, all answers to a prompt together */
export async function answerPrompts(
  model: Model,
  prompts: readonly Prompt[],
  { reference, ...options }: AnswerOptions,
): Promise<PolicyAnswer[]> {
  const completions = await sampleAnswers(model, prompts, options);
  const kls: number[] = [];
  const logprobs: number[] = [];
  if (reference)
    await inParts(completions, options.signal, (part) => {
      kls.push(...responseKl(model, reference, part, options.temperature));
      const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
      logprobs.push(...tokenLogprobs(reference, part).map(sum));
    });
  return completions.map((completion, i) => ({
    promptIndex: completion.promptIndex,
    text: completion.text,
    tokens: completion.tokens.length,
    finished: isFinished(completion),
    ...(reference && { kl: kls[i] as number, referenceLogprob: logprobs[i] as number }),
  }));
}

/** Samples a model's answers, in the order of the prompts. */
export async function sampleAnswers(
  model: Model,
  prompts: readonly Prompt[],
  options: SampleOptions,
): Promise<Completion[]> {
  const completions = await modelSampler(model).sample(
    prompts.map(({ prompt }) => prompt),
    options,
  );
  return completions.sort((a, b) => a.promptIndex - b.promptIndex);
}

/** Works on 32 items at a time, between which signals are handled. */
export async function inParts<T>(
  items: readonly T[],
  signal: AbortSignal | undefined,
  work: (part: readonly T[]) => void,
): Promise<void> {
  for (let from = 0; from < items.length; from += 32) {
    await setImmediate();
    signal?.throwIfAborted();
    work(items.slice(from, from + 32));
  }
}
