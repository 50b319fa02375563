import { tokenLogprobs } from "../batch/score.ts";
import { InputError } from "../data/errors.ts";
import type { Demonstration, Prompt } from "../data/records.ts";
import { answerPrompts, inParts } from "../eval/answers.ts";
import type { Policy } from "../eval/policies.ts";
import type { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import type { SampleOptions } from "../rollout/sampler.ts";
import { mean } from "../statistics/numbers.ts";
import { encodeExample } from "../text/chat.ts";
import type { AnswerOptions } from "./options.ts";
import type { Progress } from "./terminal.ts";

export interface SamplingOptions extends AnswerOptions {
  samples: number;
  signal: AbortSignal;
  progress: Progress;
}

export const answerDefaults = { maxTokens: 256, temperature: 1 };

/**
 * Lets a policy answer, and measures it against the reference and on demonstrations where there are any.
 * @param reference model to which the KL and under which the perplexity are measured
 * @throws InputError when the reference has another vocabulary
 */
export async function answersOf(
  name: string,
  prompts: readonly Prompt[],
  {
    reference,
    demonstrations,
    ...options
  }: SamplingOptions & { reference?: string; demonstrations: readonly Demonstration[] },
): Promise<Policy> {
  const model = await openPolicy(name, options);
  const other = reference === undefined ? undefined : await openPolicy(reference, options);
  if (other && other.dimensions.vocab !== model.dimensions.vocab)
    throw new InputError(
      `eval: ${name} and the reference ${reference} have different vocabularies, so there is no KL between them`,
    );
  const answers = await answerPrompts(model, prompts, { ...samplingOf(options), reference: other });
  other?.dispose();
  const losses: number[] = [];
  const rows = demonstrations.map(({ prompt, completion }) => encodeExample(model.text, prompt, completion));
  await inParts(rows, options.signal, (part) =>
    losses.push(...tokenLogprobs(model, part).map((logprobs) => -mean(logprobs))),
  );
  model.dispose();
  return { name, answers, ...(losses.length > 0 && { losses }) };
}

/** Loads a model of an evaluation. */
export const openPolicy = (
  name: string,
  { dtype, progress }: Pick<SamplingOptions, "dtype" | "progress">,
): Promise<Model> =>
  loadModel(name, { ...(dtype ? { dtype } : {}), onProgress: (text) => progress.line(text) });

/** Picks the options of a sampler, with the defaults of `eval`. */
export const samplingOf = ({
  samples,
  maxTokens = answerDefaults.maxTokens,
  temperature = answerDefaults.temperature,
  seed,
  batchSize,
  signal,
  progress,
}: SamplingOptions): SampleOptions & { temperature: number } => ({
  ...{ samples, maxTokens, temperature, seed, batchSize, signal },
  onProgress: (done, total) => progress.count(done, total, "answers"),
});
