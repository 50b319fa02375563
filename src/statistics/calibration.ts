import { uniform } from "./random.ts";

export interface CalibrationBin {
  confidence: number;
  accuracy: number;
  /** Sum of the weights in the bin. */
  count: number;
}

/**
 * Measures the calibration of preference probabilities p = σ(margin), where the first of each pair is the preferred one.
 * Returns ten equal bins of the confidence max(p, 1 − p) over [0.5, 1], and the expected calibration error: the
 * count-weighted mean gap between confidence and accuracy (Guo et al. 2017, eq. 3).
 * @param weights how much each margin counts. Default: 1
 */
export function calibration(
  margins: readonly number[],
  weights: readonly number[] = margins.map(() => 1),
): { ece: number; bins: CalibrationBin[] } {
  const sums = Array.from({ length: 10 }, () => ({ confidence: 0, correct: 0, count: 0 }));
  for (const [i, margin] of margins.entries()) {
    const weight = weights[i] as number;
    const confidence = 1 / (1 + Math.exp(-Math.abs(margin)));
    const bin = sums[Math.min(9, Math.floor((confidence - 0.5) * 20))];
    if (!bin) continue; // the margin is NaN
    bin.confidence += weight * confidence;
    // A tie is half right.
    bin.correct += (weight * (Math.sign(margin) + 1)) / 2;
    bin.count += weight;
  }
  const bins = sums
    .filter((bin) => bin.count)
    .map(({ confidence, correct, count }) => ({
      confidence: confidence / count,
      accuracy: correct / count,
      count,
    }));
  const total = bins.reduce((sum, bin) => sum + bin.count, 0);
  return {
    ece: bins.reduce((sum, bin) => sum + (bin.count / total) * Math.abs(bin.accuracy - bin.confidence), 0),
    bins,
  };
}

/**
 * Computes the expected calibration error that a perfectly calibrated model of the same confidences and weights shows on so
 * few margins: accuracies of bins scatter by chance, so it is above 0 (Bröcker & Smith 2007). Only what is above it is
 * miscalibration. Margins are taken as independent; those of one prompt are not, so it is rather too low.
 * @returns mean over 200 simulations, over fewer of more than 5,000 margins, which scatter less
 */
export function calibratedEce(margins: readonly number[], weights?: readonly number[]): number {
  const simulations = Math.ceil(Math.min(200, 1e6 / margins.length));
  const next = uniform(0);
  let sum = 0;
  for (let i = 0; i < simulations; i++) {
    const drawn = margins.map((margin) => {
      const size = Math.abs(margin);
      return next() < 1 / (1 + Math.exp(-size)) ? size : -size;
    });
    sum += calibration(drawn, weights).ece;
  }
  return sum / simulations;
}
