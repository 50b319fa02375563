import { setImmediate } from "node:timers/promises";
import { tokenLogprobs } from "../batch/score.ts";
import { InputError } from "../data/errors.ts";
import type { Demonstration, Prompt } from "../data/records.ts";
import { responseKl } from "../eval/evaluate.ts";
import type { Policy } from "../eval/policies.ts";
import type { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { modelSampler } from "../rollout/generate.ts";
import { type Completion, isFinished } from "../rollout/sampler.ts";
import { mean } from "../statistics/numbers.ts";
import { encodeExample } from "../text/chat.ts";
import type { AnswerOptions } from "./options.ts";
import type { Progress } from "./terminal.ts";

export interface SamplingOptions extends AnswerOptions {
  samples: number;
  /** Model to which KL and under which perplexity are measured. */
  reference?: string;
  demonstrations: readonly Demonstration[];
  signal: AbortSignal;
  progress: Progress;
}

export const answerDefaults = { maxTokens: 256, temperature: 1 };

/** Lets a policy answer, and measures it against the reference and on demonstrations where there are any. */
export async function answersOf(
  name: string,
  prompts: readonly Prompt[],
  options: SamplingOptions,
): Promise<Policy> {
  const { reference, demonstrations, signal } = options;
  const model = await openPolicy(name, options);
  const completions = await sampleAnswers(model, prompts, options);
  const measured =
    reference === undefined ? [] : await compareWith(reference, name, model, completions, options);
  const losses: number[] = [];
  const rows = demonstrations.map(({ prompt, completion }) => encodeExample(model.text, prompt, completion));
  await inParts(rows, signal, (part) =>
    losses.push(...tokenLogprobs(model, part).map((logprobs) => -mean(logprobs))),
  );
  model.dispose();
  const answers = completions.map((completion, i) => ({
    promptIndex: completion.promptIndex,
    text: completion.text,
    tokens: completion.tokens.length,
    finished: isFinished(completion),
    ...measured[i],
  }));
  return { name, answers, ...(losses.length > 0 && { losses }) };
}

/** Loads a model of an evaluation. */
export const openPolicy = (
  name: string,
  { dtype, progress }: Pick<SamplingOptions, "dtype" | "progress">,
): Promise<Model> =>
  loadModel(name, { ...(dtype ? { dtype } : {}), onProgress: (text) => progress.line(text) });

/** Samples a model's answers, in the order of the prompts. */
export async function sampleAnswers(
  model: Model,
  prompts: readonly Prompt[],
  {
    samples,
    maxTokens = answerDefaults.maxTokens,
    temperature = answerDefaults.temperature,
    seed,
    batchSize,
    signal,
    progress,
  }: Omit<SamplingOptions, "demonstrations">,
): Promise<Completion[]> {
  const completions = await modelSampler(model).sample(
    prompts.map(({ prompt }) => prompt),
    {
      ...{ samples, maxTokens, temperature, seed, batchSize, signal },
      onProgress: (done, total) => progress.count(done, total, "answers"),
    },
  );
  return completions.sort((a, b) => a.promptIndex - b.promptIndex);
}

/** Computes each answer's log-ratio to the reference and its log-probability under it. */
async function compareWith(
  reference: string,
  name: string,
  model: Model,
  completions: readonly Completion[],
  { temperature = answerDefaults.temperature, signal, ...options }: SamplingOptions,
): Promise<{ kl: number; referenceLogprob: number }[]> {
  const other = await openPolicy(reference, options);
  if (other.dimensions.vocab !== model.dimensions.vocab)
    throw new InputError(
      `eval: ${name} and the reference ${reference} have different vocabularies, so there is no KL between them`,
    );
  const kls: number[] = [];
  const logprobs: number[] = [];
  await inParts(completions, signal, (part) => {
    kls.push(...responseKl(model, other, part, temperature));
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    logprobs.push(...tokenLogprobs(other, part).map(sum));
  });
  other.dispose();
  return kls.map((kl, i) => ({ kl, referenceLogprob: logprobs[i] as number }));
}

/** Works on 32 items at a time, between which signals are handled. */
async function inParts<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (part: readonly T[]) => void,
): Promise<void> {
  for (let from = 0; from < items.length; from += 32) {
    await setImmediate();
    signal.throwIfAborted();
    work(items.slice(from, from + 32));
  }
}
