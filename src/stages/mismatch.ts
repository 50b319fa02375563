import { farthestFromOne, mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import type { Metrics } from "../run/events.ts";
import { rolloutTrainerMismatch, type Warning } from "../run/warnings.ts";

interface SamplingConfig {
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
 * Compares the trainer's log-probs with the sampler's for the same tokens, before any update. Only tokens that both take
 * from the same distribution are compared: no masked ones, none of the first `minTokens` of a response, which are sampled
 * without stop tokens, and none at all under cut-offs.
 * @param trainer log-prob of each token of all samples, end to end
 * @returns mean of π_trainer/π_sampler over the tokens, and the ratio farthest from 1; nothing without such tokens
 */
export function mismatch(
  trainer: readonly number[],
  samples: readonly Sampled[],
  { topK, topP, minTokens }: SamplingConfig,
): Metrics {
  if (topK || topP) return {};
  const isCompared = samples.flatMap(({ mask }) => mask.map((learned, t) => learned === 1 && t >= minTokens));
  const sampler = samples.flatMap(({ logprobs }) => logprobs);
  const ratios = sampler.flatMap((logprob, i) =>
    isCompared[i] ? [Math.exp((trainer[i] as number) - logprob)] : [],
  );
  if (!ratios.length) return {};
  return { "val/rollout_ratio": mean(ratios), "val/rollout_ratio_worst": farthestFromOne(ratios) };
}

/** Checks the guard rail on that mean. */
export function mismatchWarnings(metrics: Metrics, model: Model): Warning[] {
  const ratio = metrics["val/rollout_ratio"];
  // Narrow precision moves single tokens, but not their mean.
  return ratio === undefined ? [] : rolloutTrainerMismatch(ratio, isPrecise(model) ? 1e-3 : 2e-2);
}

/** Whether sampler and trainer compute a token's log-prob to float32 rounding. */
export const isPrecise = (model: Model): boolean => model.isBatchInvariant || model.dtype === "float32";
