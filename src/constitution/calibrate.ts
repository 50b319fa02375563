import type { Comparison } from "../data/records.ts";
import { calibration, type Interval, shareInterval } from "../math/index.ts";
import { cohenKappa, type Kappa } from "../statistics/agreement.ts";
import { groupBy } from "../statistics/groups.ts";
import type { JudgedPair } from "./prefer.ts";

/** Agreement of a model's preferences with people's, on the pairs that both judged. */
export interface Calibration {
  /** Number of pairs that both judged. */
  pairs: number;
  /** Share of pairs that both order the same way (a tie of the model is half right), with a 95 % interval over prompts. */
  accuracy: Interval;
  kappa: Kappa;
  /** Factor of the log-odds that calibrates them (temperature scaling); 0 if they agree with people no more than by chance. */
  scale: number;
  /** Expected calibration error of the probabilities, before and after scaling. */
  ece: { raw: number; scaled: number };
}

/** Largest scale: otherwise a few pairs that all agree would make labels certain. */
const maxScale = 10;

/**
 * Measures how a model's preferences agree with people's, and fits a scale that calibrates them (temperature scaling,
 * Guo et al. 2017).
 * @returns undefined if people judged none of the model's pairs
 */
export function calibrate(
  judged: readonly JudgedPair[],
  people: readonly Comparison[],
): Calibration | undefined {
  const byPair = new Map(judged.map((pair) => [pairKey(pair.prompt, pair.answers), pair]));
  const judgedBoth: { prompt: string; margin: number }[] = [];
  const labels: [model: number[], people: number[]] = [[], []];
  for (const { prompt, completions, ranks } of people)
    for (const [i, a] of completions.entries())
      for (const [j, b] of completions.entries()) {
        const pair = byPair.get(pairKey(prompt, [a, b]));
        const difference = (ranks[j] as number) - (ranks[i] as number);
        if (!pair || !difference) continue;
        judgedBoth.push({ prompt: JSON.stringify(prompt), margin: pair.logOdds * Math.sign(difference) });
        labels[0].push(Number(pair.logOdds > 0));
        labels[1].push(Number(difference > 0));
      }
  if (!judgedBoth.length) return undefined;
  const margins = judgedBoth.map(({ margin }) => margin);
  const scale = bestScale(margins);
  return {
    pairs: margins.length,
    accuracy: shareInterval(
      [...groupBy(judgedBoth, ({ prompt }) => prompt).values()].map((pairs) => ({
        wins: pairs.reduce((sum, { margin }) => sum + (Math.sign(margin) + 1) / 2, 0),
        total: pairs.length,
      })),
    ),
    kappa: cohenKappa(...labels, [0, 1]),
    scale,
    ece: {
      raw: calibration(margins).ece,
      scaled: calibration(margins.map((margin) => scale * margin)).ece,
    },
  };
}

const pairKey = (prompt: unknown, answers: readonly string[]): string => JSON.stringify([prompt, answers]);

/** Finds the scale s ≥ 0 that maximises Σ log σ(s · margin), by bisection: its derivative decreases in s. */
function bestScale(margins: readonly number[]): number {
  const slope = (s: number) => margins.reduce((sum, margin) => sum + margin / (1 + Math.exp(s * margin)), 0);
  let [low, high] = [0, maxScale];
  if (slope(0) <= 0) return 0;
  if (slope(maxScale) >= 0) return maxScale;
  while (high - low > 1e-9) {
    const middle = (low + high) / 2;
    if (slope(middle) > 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
