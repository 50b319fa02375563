import { farthestFromOne, mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import type { Metrics } from "../run/events.ts";
import { rolloutTrainerMismatch, type Warning } from "../run/warnings.ts";

interface SamplingConfig {
  temperature: number;
  topK?: number | undefined;
  topP?: number | undefined;
  minTokens: number;
}

/** A completion as the sampler gave it: `logprobs` and `mask` have a value for each token. */
interface Sampled {
  logprobs: readonly number[];
  mask: readonly number[];
}

/**
 * Compares the trainer's log-probs with the sampler's for the same tokens, before any update. Masked tokens are left out.
 * @param trainer log-prob of each token of all samples, end to end
 * @returns mean of π_trainer/π_sampler over the tokens, and the ratio farthest from 1
 */
export function mismatch(trainer: readonly number[], samples: readonly Sampled[]): Metrics {
  const mask = samples.flatMap((sample) => sample.mask);
  const sampler = samples.flatMap(({ logprobs }) => logprobs);
  const ratios = sampler.flatMap((logprob, i) =>
    mask[i] ? [Math.exp((trainer[i] as number) - logprob)] : [],
  );
  return { "val/rollout_ratio": mean(ratios), "val/rollout_ratio_worst": farthestFromOne(ratios) };
}

/**
 * Checks the guard rail on that mean. Cut-offs and a least length change the distribution that the sampler draws from, so
 * its log-probs are not comparable then.
 */
export function mismatchWarnings(metrics: Metrics, model: Model, sampling: SamplingConfig): Warning[] {
  const ratio = metrics["val/rollout_ratio"];
  const { temperature, topK, topP, minTokens } = sampling;
  if (ratio === undefined || !temperature || topK || topP || minTokens) return [];
  // Narrow precision moves single tokens, but not their mean.
  return rolloutTrainerMismatch(ratio, isPrecise(model) ? 1e-3 : 2e-2);
}

/** Whether sampler and trainer compute a token's log-prob to float32 rounding. */
export const isPrecise = (model: Model): boolean => model.isBatchInvariant || model.dtype === "float32";
