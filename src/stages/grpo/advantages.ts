import { deviation, mean, mergeMoments, noMoments, type RunningMoments } from "../../math/index.ts";
import type { GrpoConfig } from "./config.ts";

/**
 * By how much each response is better than its baseline, in score units or deviations.
 * @param groups which prompt each response answers @param before moments of all earlier scores, for the running baseline
 */
export function advantagesOf(
  scores: readonly number[],
  groups: readonly number[],
  before: RunningMoments,
  { baseline, scale }: Pick<GrpoConfig, "baseline" | "scale">,
): number[] {
  const byGroup = new Map<number, number[]>();
  scores.forEach((score, i) => {
    byGroup.set(groups[i] as number, [...(byGroup.get(groups[i] as number) ?? []), score]);
  });
  const running = before.count ? before.mean : mean(scores);
  const deviationOf = (some: readonly number[]) => sampleDeviation(some) + 1e-4;
  const whole = deviationOf(scores);
  return scores.map((score, i) => {
    const group = byGroup.get(groups[i] as number) as number[];
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
  return length > 1 ? deviation(mergeMoments(noMoments, values)) * Math.sqrt(length / (length - 1)) : 0;
}

/** Whether responses to each prompt score differently: others teach nothing. */
export function haveSpread(scores: readonly number[], groups: readonly number[]): Set<number> {
  const seen = new Map<number, number>();
  const spread = new Set<number>();
  scores.forEach((score, i) => {
    const group = groups[i] as number;
    if (seen.has(group) && seen.get(group) !== score) spread.add(group);
    seen.set(group, score);
  });
  return spread;
}
