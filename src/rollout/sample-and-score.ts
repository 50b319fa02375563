import type { Prompt } from "../data/records.ts";
import type { Answer, Score, Scorer } from "../rewards/scorer.ts";
import type { Completion, SampleOptions, Sampler } from "./sampler.ts";

/** A completion with its prompt and its score. */
export interface ScoredCompletion extends Completion, Answer, Score {}

/**
 * Samples completions of prompts and scores them.
 * @returns completions in the order of the prompts, all completions of a prompt together
 */
export async function sampleAndScore(
  sampler: Sampler,
  scorer: Scorer,
  prompts: readonly Prompt[],
  options: SampleOptions,
): Promise<ScoredCompletion[]> {
  const completions = await sampler.sample(
    prompts.map(({ prompt }) => prompt),
    options,
  );
  const answers = completions.map((completion) => ({
    ...(prompts[completion.promptIndex] as Prompt),
    ...completion,
  }));
  const scores = await scorer.score(answers, options.signal);
  return answers.map((answer, i) => ({ ...answer, ...(scores[i] as Score) }));
}
