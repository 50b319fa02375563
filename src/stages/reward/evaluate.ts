import type { Group } from "../../batch/groups.ts";
import { scoreAll } from "../../batch/score.ts";
import { bootstrap, type CalibrationBin, calibration, mean } from "../../math/index.ts";
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

/**
 * How well scores agree with held-out rankings: accuracy with a 95 % interval (prompts are resampled, since pairs of
 * one prompt hang together), margin, calibration, and the accuracy of saying that the longer response wins.
 */
export function evaluate(model: Model, groups: readonly Group[]): RewardReport {
  const judged = groups.map((group) => {
    const scores = scoreAll(model, group.rows);
    const lengthOf = (place: number) => group.rows[place]?.tokens.length ?? 0;
    return group.pairs.map(({ better, worse, labeler, strength, weight }) => ({
      margin: (scores[better] as number) - (scores[worse] as number),
      longer: Math.sign(lengthOf(better) - lengthOf(worse)),
      labeler: labeler ?? "",
      strength,
      weight,
    }));
  });
  const pairs = judged.flat();
  const right = ({ margin }: { margin: number }) => (margin > 0 ? 1 : 0);
  // Pairs count as they do in training: one from a labeler who answers at random says nothing about the model.
  const accuracy = bootstrap(judged, (sample) => {
    const seen = sample.flat();
    const total = seen.reduce((sum, { weight }) => sum + weight, 0);
    return seen.reduce((sum, pair) => sum + pair.weight * right(pair), 0) / total;
  });
  const { ece, bins } = calibration(pairs.map(({ margin }) => margin));
  const by = (key: (pair: (typeof pairs)[number]) => string) => {
    const names = [...new Set(pairs.map(key))].sort();
    return Object.fromEntries(
      names.map((name) => {
        const some = pairs.filter((pair) => key(pair) === name);
        return [name, { accuracy: mean(some.map(right)), pairs: some.length }];
      }),
    );
  };
  return {
    metrics: {
      eval_accuracy: accuracy.value,
      eval_accuracy_low: accuracy.low,
      eval_accuracy_high: accuracy.high,
      eval_margin: mean(pairs.map(({ margin }) => margin)),
      eval_pairs: pairs.length,
      "calibration/ece": ece,
      // A tie in length is right half the time.
      eval_longer_wins: mean(pairs.map(({ longer }) => (longer + 1) / 2)),
    },
    calibration: bins,
    byLabeler: pairs.some(({ labeler }) => labeler) ? by(({ labeler }) => labeler) : {},
    byStrength: by(({ strength }) => String(strength)),
  };
}
