// Statistics on plain numbers, for evaluation. Losses never use these.

export interface Interval {
  value: number;
  low: number;
  high: number;
}

/** A 95 % interval by the percentile bootstrap (Efron 1979): `statistic` of 2,000 resamples of the items. Those of which it is NaN are left out.
 */
export function bootstrap<T>(
  items: readonly T[],
  statistic: (sample: readonly T[]) => number,
  seed = 0,
  resamples = 2000,
): Interval {
  const next = uniform(seed);
  const values = Array.from({ length: resamples }, () =>
    statistic(items.map(() => items[Math.floor(next() * items.length)] as T)),
  )
    .filter((value) => !Number.isNaN(value))
    .sort((a, b) => a - b);
  const at = (q: number) => values[Math.min(values.length - 1, Math.floor(q * values.length))] as number;
  return { value: statistic(items), low: at(0.025), high: at(0.975) };
}

export const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

/** The value that is farthest from 1; 1 of none. */
export const farthestFromOne = (values: readonly number[]): number =>
  values.reduce((worst, value) => (Math.abs(value - 1) > Math.abs(worst - 1) ? value : worst), 1);

/** Uniform numbers in [0, 1) from a seed: mulberry32. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export interface CalibrationBin {
  confidence: number;
  accuracy: number;
  count: number;
}

/**
 * Reliability of preference probabilities p = σ(margin), where the first of each pair is the preferred one: ten equal
 * bins of the confidence max(p, 1 − p) over [0.5, 1], and the expected calibration error, the count-weighted mean gap
 * between confidence and accuracy (Guo et al. 2017, eq. 3).
 */
export function calibration(margins: readonly number[]): { ece: number; bins: CalibrationBin[] } {
  const sums = Array.from({ length: 10 }, () => ({ confidence: 0, correct: 0, count: 0 }));
  for (const margin of margins) {
    const confidence = 1 / (1 + Math.exp(-Math.abs(margin)));
    const bin = sums[Math.min(9, Math.floor((confidence - 0.5) * 20))];
    if (!bin) continue; // NaN
    bin.confidence += confidence;
    bin.correct += margin > 0 ? 1 : 0;
    bin.count++;
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
