import { mean } from "../../math/index.ts";
import type { Metrics } from "../../run/events.ts";
import {
  collapse,
  criticExplainsNothing,
  type Health,
  lowKlCoef,
  negativeKl,
  noEos,
  rolloutTrainerMismatch,
  scoresNotNormalised,
  type Warning,
} from "../../run/warnings.ts";
import type { UpdateMetrics } from "./update.ts";

// Metrics of a step, under the names of docs/metrics.md.

/** Averages the metrics of a step's updates. */
export function summariseUpdates(updates: readonly UpdateMetrics[]): Metrics {
  const average = (name: keyof UpdateMetrics) => mean(updates.map((update) => update[name]));
  return {
    "policy/approxkl_avg": average("approxKl"),
    "policy/clipfrac_avg": average("clipFraction"),
    "loss/policy_avg": average("policyLoss"),
    "loss/value_avg": average("valueLoss"),
    "val/clipfrac_avg": average("valueClipFraction"),
    "val/ratio": average("ratio"),
    "val/ratio_var": average("ratioSquare") - average("ratio") ** 2,
    // Before any update: 1 but for rounding.
    "val/first_ratio_worst": updates[0]?.worstRatio ?? 1,
    grad_norm: average("policyGradNorm"),
    "grad_norm/critic": average("criticGradNorm"),
    updates: updates.length,
  };
}

export const health = (metrics: Metrics): Health => ({
  score: metrics["objective/scores"] as number,
  length: metrics["completions/mean_length"] as number,
  refPerplexity: metrics["policy/ref_perplexity"] as number,
  explainedVariance: metrics["val/explained_variance"] as number,
});

/** Checks the guard rails after a step. @param history of the last steps, this one included */
export function watch(
  metrics: Metrics,
  history: Health[],
  run: { klCoef: number; normalised: boolean; isPrecise: boolean },
): Warning[] {
  const at = (name: string) => metrics[name] as number;
  return [
    ...lowKlCoef(run.klCoef),
    ...scoresNotNormalised(run.normalised),
    ...rolloutTrainerMismatch(at("val/first_ratio_worst"), run.isPrecise ? 1e-3 : 0.5),
    ...negativeKl(at("objective/kl_k1")),
    ...noEos(at("completions/clipped_ratio")),
    ...collapse(history),
    ...criticExplainsNothing(history),
  ];
}
