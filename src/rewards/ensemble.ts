import type { Row } from "../batch/pack.ts";
import { scoreAll } from "../batch/score.ts";
import { mean } from "../math/index.ts";
import type { Combination, Ensemble } from "../models/ensemble.ts";

/** What an ensemble makes of an answer. */
interface EnsembleScore {
  score: number;
  /** Standard deviation of the members' scores. */
  disagreement: number;
}

/**
 * Makes one score of those of an ensemble's members (Coste et al. 2023, section 3): their mean; the least (`worst`,
 * worst-case optimisation); or the mean less `penalty` times their variance (`penalised`, uncertainty-weighted
 * optimisation).
 */
export function combineScores(scores: readonly number[], { combine, penalty }: Combination): EnsembleScore {
  const average = mean(scores);
  const variance = mean(scores.map((score) => (score - average) ** 2));
  const disagreement = Math.sqrt(variance);
  if (combine === "worst") return { score: Math.min(...scores), disagreement };
  return { score: combine === "penalised" ? average - penalty * variance : average, disagreement };
}

/** Scores rows with an ensemble. @param combination how. Default: the ensemble's */
export function scoreByEnsemble(
  ensemble: Ensemble,
  rows: readonly Row[],
  combination: Combination = ensemble.combination,
): EnsembleScore[] {
  const byMember = ensemble.members.map((member) => scoreAll(member, rows));
  return rows.map((_, i) =>
    combineScores(
      byMember.map((scores) => scores[i] as number),
      combination,
    ),
  );
}
