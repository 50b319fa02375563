import { deviation, mean, mergeMoments, noMoments } from "../math/index.ts";

/** What a step's responses are like, under the names of docs/metrics.md. */
export function summariseResponses(
  responses: readonly (readonly number[])[],
  scores: readonly number[],
  finished: readonly boolean[],
): Record<string, number> {
  const lengths = responses.map((ids) => ids.length);
  const ended = finished.filter(Boolean).length;
  const moments = mergeMoments(noMoments, scores);
  return {
    "objective/scores": moments.mean,
    "objective/scores_std": deviation(moments),
    "val/num_eos_tokens": ended,
    "completions/mean_length": mean(lengths),
    "completions/min_length": Math.min(...lengths),
    "completions/max_length": Math.max(...lengths),
    "completions/clipped_ratio": 1 - ended / responses.length,
  };
}
