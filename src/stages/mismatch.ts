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

/**
 * How far the trainer's log-probs are from the sampler's for the same tokens, before any update.
 * @param trainer, sampler log-prob of each token
 * @returns mean of π_trainer/π_sampler over the tokens, and the ratio farthest from 1
 */
export function mismatch(trainer: readonly number[], sampler: readonly number[]): Metrics {
  const ratios = sampler.map((logprob, i) => Math.exp((trainer[i] as number) - logprob));
  return { "val/rollout_ratio": mean(ratios), "val/rollout_ratio_worst": farthestFromOne(ratios) };
}

/**
 * The guard rail on that mean. Cut-offs and a least length change what the sampler draws from, so that its log-probs are
 * of another distribution than the trainer's: then nothing is compared.
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
