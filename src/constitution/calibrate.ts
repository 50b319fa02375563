import type { Comparison } from "../data/records.ts";
import { bootstrap, calibration, type Interval } from "../math/index.ts";
import { cohenKappa, type Kappa } from "../statistics/agreement.ts";
import type { Judged } from "./prefer.ts";

/** How far a model's preferences are those of people, on the pairs that both judged. */
export interface Calibration {
  pairs: number;
  /** Share that both order the same way, with a 95 % interval. */
  accuracy: Interval;
  kappa: Kappa;
  /** What the log-odds are multiplied by to be as sure as they are right; 0 where they are right no more than by chance. */
  scale: number;
  /** Expected calibration error of the probabilities, as they are and scaled. */
  ece: { raw: number; scaled: number };
}

/** Log-odds are scaled by this much at most: few pairs that all agree would make them certain. */
const most = 10;

/**
 * Compares a model's preferences with people's, and scales them to be as sure as they are right (temperature scaling, Guo
 * et al. 2017). @returns undefined where nobody judged the same pair
 */
export function calibrate(judged: readonly Judged[], people: readonly Comparison[]): Calibration | undefined {
  const said = new Map(judged.map((one) => [keyOf(one.prompt, one.answers), one]));
  const margins: number[] = [];
  const labels: [model: number[], people: number[]] = [[], []];
  for (const { prompt, completions, ranks } of people)
    for (const [i, a] of completions.entries())
      for (const [j, b] of completions.entries()) {
        const one = said.get(keyOf(prompt, [a, b]));
        const difference = (ranks[j] as number) - (ranks[i] as number);
        if (!one || !difference) continue;
        margins.push(one.logOdds * Math.sign(difference));
        labels[0].push(Number(one.logOdds > 0));
        labels[1].push(Number(difference > 0));
      }
  if (!margins.length) return undefined;
  const scale = bestScale(margins);
  return {
    pairs: margins.length,
    accuracy: bootstrap(margins, (some) => some.filter((margin) => margin > 0).length / some.length),
    kappa: cohenKappa(...labels, 2),
    scale,
    ece: {
      raw: calibration(margins).ece,
      scaled: calibration(margins.map((margin) => scale * margin)).ece,
    },
  };
}

const keyOf = (prompt: unknown, answers: readonly string[]): string => JSON.stringify([prompt, answers]);

/** The s ≥ 0 that makes Σ log σ(s · margin) greatest: its slope falls all the way. */
function bestScale(margins: readonly number[]): number {
  const slope = (s: number) => margins.reduce((sum, margin) => sum + margin / (1 + Math.exp(s * margin)), 0);
  let [low, high] = [0, most];
  if (slope(0) <= 0) return 0;
  if (slope(most) >= 0) return most;
  while (high - low > 1e-9) {
    const middle = (low + high) / 2;
    if (slope(middle) > 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
