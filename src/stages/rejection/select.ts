import type { Score } from "../../rewards/scorer.ts";
import { type Completion, isFinished } from "../../rollout/sampler.ts";
import { groupBy } from "../../statistics/groups.ts";
import type { RejectionConfig } from "./config.ts";

/** What the selection reads of a scored response. */
type Candidate = Pick<Completion, "promptIndex" | "finishReason"> & Pick<Score, "score">;

/**
 * Selects the responses to learn from: of each prompt the one with the highest score, the first of equal ones (Touvron
 * et al. 2023, §3.2.3; Dong et al. 2023, alg. 1), or all with a score of `bar` or more. Scores are less `missingEosPenalty`
 * for responses that were cut off.
 */
export function selectResponses<T extends Candidate>(
  samples: readonly T[],
  { keep, bar = -Infinity, missingEosPenalty }: Pick<RejectionConfig, "keep" | "bar" | "missingEosPenalty">,
): T[] {
  const scoreOf = (sample: T) => sample.score - (isFinished(sample) ? 0 : missingEosPenalty);
  if (keep === "above") return samples.filter((sample) => scoreOf(sample) >= bar);
  return [...groupBy(samples, ({ promptIndex }) => promptIndex).values()].map((responses) =>
    responses.reduce((best, other) => (scoreOf(other) > scoreOf(best) ? other : best)),
  );
}
