import { emptyMoments, mean, mergeMoments, standardDeviation } from "../math/index.ts";
import { type Completion, isFinished } from "./sampler.ts";

/** Summarises the scores and lengths of a step's completions, as the metrics that docs/metrics.md lists. */
export function summariseCompletions(
  completions: readonly (Pick<Completion, "finishReason"> & { tokens: readonly number[]; score: number })[],
): Record<string, number> {
  const lengths = completions.map(({ tokens }) => tokens.length);
  const ended = completions.filter(isFinished).length;
  const moments = mergeMoments(
    emptyMoments,
    completions.map(({ score }) => score),
  );
  return {
    "objective/scores": moments.mean,
    "objective/scores_std": standardDeviation(moments),
    "val/num_eos_tokens": ended,
    "completions/mean_length": mean(lengths),
    "completions/min_length": Math.min(...lengths),
    "completions/max_length": Math.max(...lengths),
    "completions/clipped_ratio": 1 - ended / completions.length,
  };
}
