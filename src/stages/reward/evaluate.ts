import type { Group } from "../../batch/groups.ts";
import { scoreAll } from "../../batch/score.ts";
import {
  type CalibrationBin,
  calibratedEce,
  calibration,
  mean,
  minClusters,
  shareInterval,
} from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import type { Metrics } from "../../run/events.ts";

export interface RewardReport {
  metrics: Metrics;
  /** Reliability curve: how often the preferred one wins at each confidence. */
  calibration: CalibrationBin[];
  /** Accuracy and number of pairs for each labeler, and for each difference in rank. */
  byLabeler: Record<string, { accuracy: number; pairs: number }>;
  byStrength: Record<string, { accuracy: number; pairs: number }>;
}

/** A held-out pair with what the model makes of it. */
interface Outcome {
  /** Score of the preferred completion over the other's. */
  margin: number;
  /** 1 where the preferred completion is the longer one, −1 where it is the shorter, 0 for equal lengths. */
  longer: number;
  labeler: string;
  strength: number;
  /** How far its labeler can be trusted, times how likely the pair is this way round, by the number of the prompt's pairs. */
  weight: number;
}

/**
 * Scores held-out completions, and measures how well the scores agree with their rankings: see `rewardReport`. Several
 * models are measured by their mean score, and the metric `eval_member_accuracy` is the mean accuracy of each by itself.
 */
export function evaluate(models: readonly Model[], groups: readonly Group[]): RewardReport {
  const byModel = models.map((model) => groups.map(({ rows }) => scoreAll(model, rows)));
  const report = rewardReport(
    groups,
    byModel.reduce(addScores).map((scores) => scores.map((sum) => sum / models.length)),
  );
  if (models.length === 1) return report;
  const accuracies = byModel.map((scores) => rewardReport(groups, scores).metrics.eval_accuracy as number);
  return { ...report, metrics: { ...report.metrics, eval_member_accuracy: mean(accuracies) } };
}

const addScores = (a: readonly number[][], b: readonly number[][]): number[][] =>
  a.map((scores, i) => scores.map((score, j) => score + (b[i]?.[j] as number)));

/**
 * Measures how well scores agree with held-out rankings: accuracy with a 95 % interval over prompts (the pairs of a prompt depend on
 * each other; none below five prompts), margin, calibration, and the accuracy of preferring the longer completion. Pairs
 * count as they do in training: every measure is a mean under the pairs' weights, which add up to the same for each
 * prompt; a pair with a soft label counts both ways round, by its probability; a tie is half right.
 * @param scores of each prompt's completions
 */
export function rewardReport(groups: readonly Group[], scores: readonly number[][]): RewardReport {
  const byPrompt = groups.map((group, i) => outcomesOf(group, scores[i] as number[]));
  const outcomes = byPrompt.flat();
  const accuracy = shareInterval(
    byPrompt.map((prompt) => {
      const total = prompt.reduce((sum, { weight }) => sum + weight, 0);
      return { total, wins: total * accuracyOf(prompt) };
    }),
  );
  const margins = outcomes.map(({ margin }) => margin);
  const weights = outcomes.map(({ weight }) => weight);
  const { ece, bins } = calibration(margins, weights);
  const labelers = groups.flatMap(({ pairs }) => pairs.map(({ labeler = "" }) => labeler));
  const strengths = groups.flatMap(({ pairs }) => pairs.map(({ strength }) => String(strength)));
  const by = (names: readonly string[], nameOf: (outcome: Outcome) => string) =>
    Object.fromEntries(
      [...new Set(names)].sort().map((name) => {
        const accuracy = accuracyOf(outcomes.filter((outcome) => nameOf(outcome) === name));
        return [name, { accuracy, pairs: names.filter((other) => other === name).length }];
      }),
    );
  return {
    metrics: {
      eval_accuracy: accuracy.value,
      // Too few prompts have no interval.
      ...(groups.length >= minClusters && {
        eval_accuracy_low: accuracy.low,
        eval_accuracy_high: accuracy.high,
      }),
      eval_margin: weightedMean(outcomes, ({ margin }) => margin),
      eval_pairs: strengths.length,
      "calibration/ece": ece,
      // Soft labels have no chance of their own to simulate.
      ...(outcomes.length === strengths.length && {
        "calibration/ece_if_calibrated": calibratedEce(margins, weights),
      }),
      // A tie in length is right half the time.
      eval_longer_wins: weightedMean(outcomes, ({ longer }) => (longer + 1) / 2),
    },
    calibration: bins,
    byLabeler: labelers.some(Boolean) ? by(labelers, ({ labeler }) => labeler) : {},
    byStrength: by(strengths, ({ strength }) => String(strength)),
  };
}

/** The pairs of a prompt; one that is not certain both ways round, each as often as it is likely. */
function outcomesOf({ rows, pairs }: Group, scores: readonly number[]): Outcome[] {
  const lengthOf = (place: number) => rows[place]?.tokens.length ?? 0;
  return pairs.flatMap(({ better, worse, labeler = "", strength, weight, probability }) => {
    const margin = (scores[better] as number) - (scores[worse] as number);
    const longer = Math.sign(lengthOf(better) - lengthOf(worse));
    const share = weight / pairs.length;
    const outcome = { margin, longer, labeler, strength, weight: share * probability };
    if (probability === 1) return [outcome];
    return [outcome, { ...outcome, margin: -margin, longer: -longer, weight: share * (1 - probability) }];
  });
}

function weightedMean(outcomes: readonly Outcome[], measure: (outcome: Outcome) => number): number {
  const total = outcomes.reduce((sum, { weight }) => sum + weight, 0);
  return outcomes.reduce((sum, outcome) => sum + outcome.weight * measure(outcome), 0) / total;
}

const accuracyOf = (outcomes: readonly Outcome[]): number =>
  weightedMean(outcomes, ({ margin }) => (Math.sign(margin) + 1) / 2);
