import {
  emptyMoments,
  mean,
  mergeMoments,
  type RunningMoments,
  standardDeviation,
} from "../../math/index.ts";
import type { GrpoConfig } from "./config.ts";

/** A score, and the prompt that the scored completion answers. */
interface Scored {
  promptIndex: number;
  score: number;
}

/**
 * By how much each completion is better than its baseline, in score units or deviations.
 * @param before moments of all earlier scores, for the running baseline
 */
export function advantagesOf(
  samples: readonly Scored[],
  before: RunningMoments,
  { baseline, scale }: Pick<GrpoConfig, "baseline" | "scale">,
): number[] {
  const scores = samples.map(({ score }) => score);
  const byPrompt = new Map<number, number[]>();
  for (const { promptIndex, score } of samples)
    byPrompt.set(promptIndex, [...(byPrompt.get(promptIndex) ?? []), score]);
  const running = before.count ? before.mean : mean(scores);
  const deviationOf = (some: readonly number[]) => sampleDeviation(some) + 1e-4;
  const whole = deviationOf(scores);
  return samples.map(({ promptIndex, score }) => {
    const group = byPrompt.get(promptIndex) as number[];
    const others = group.length - 1;
    const base = {
      group: mean(group),
      leaveOneOut: others ? (group.length * mean(group) - score) / others : score,
      running,
    }[baseline];
    return (score - base) / { group: deviationOf(group), batch: whole, none: 1 }[scale];
  });
}

/** √(Σ(x − mean)² / (n − 1)), and 0 of one. */
function sampleDeviation(values: readonly number[]): number {
  const { length } = values;
  return length > 1
    ? standardDeviation(mergeMoments(emptyMoments, values)) * Math.sqrt(length / (length - 1))
    : 0;
}

/** The prompts whose completions score differently: the others teach nothing. */
export function haveSpread(samples: readonly Scored[]): Set<number> {
  const seen = new Map<number, number>();
  const spread = new Set<number>();
  for (const { promptIndex, score } of samples) {
    if (seen.has(promptIndex) && seen.get(promptIndex) !== score) spread.add(promptIndex);
    seen.set(promptIndex, score);
  }
  return spread;
}
