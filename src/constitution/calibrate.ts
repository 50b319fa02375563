import type { Comparison } from "../data/records.ts";
import { calibratedEce, calibration, type Interval, shareInterval } from "../math/index.ts";
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
  ece: {
    /** Expected calibration error of the probabilities before scaling. */
    raw: number;
    /** The same after scaling, each prompt by the scale of the others (cross-fitted); undefined for a single prompt. */
    scaled: number | undefined;
    /** What perfectly calibrated probabilities show on so few pairs: before and after scaling. */
    ifCalibrated: { raw: number; scaled: number };
  };
}

/**
 * Measures how a model's preferences agree with people's, and fits a scale that calibrates them (temperature scaling,
 * Guo et al. 2017, with Platt's targets).
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
  const byPrompt = [...groupBy(judgedBoth, ({ prompt }) => prompt).values()].map((pairs) =>
    pairs.map(({ margin }) => margin),
  );
  return {
    pairs: margins.length,
    accuracy: accuracyOf(byPrompt),
    kappa: cohenKappa(...labels, [0, 1]),
    scale,
    ece: {
      raw: calibration(margins).ece,
      scaled: byPrompt.length > 1 ? calibration(crossFitted(byPrompt)).ece : undefined,
      ifCalibrated: {
        raw: calibratedEce(margins),
        scaled: calibratedEce(margins.map((margin) => scale * margin)),
      },
    },
  };
}

const pairKey = (prompt: unknown, answers: readonly string[]): string => JSON.stringify([prompt, answers]);

/** Estimates the share of margins above 0, with its interval over prompts. @param byPrompt margins of each prompt's pairs */
export const accuracyOf = (byPrompt: readonly (readonly number[])[]): Interval =>
  shareInterval(
    byPrompt.map((margins) => ({
      wins: margins.reduce((sum, margin) => sum + (Math.sign(margin) + 1) / 2, 0),
      total: margins.length,
    })),
  );

/** Parts of the prompts, each of which is scaled by what the others say. */
const folds = 10;

/** Scales the margins of each prompt by the scale that fits the prompts of the other folds. */
function crossFitted(byPrompt: readonly (readonly number[])[]): number[] {
  return Array.from({ length: Math.min(folds, byPrompt.length) }, (_, fold) => {
    const isHeldOut = (_: unknown, prompt: number) => prompt % folds === fold;
    const scale = bestScale(byPrompt.filter((pairs, prompt) => !isHeldOut(pairs, prompt)).flat());
    return byPrompt.filter(isHeldOut).flatMap((margins) => margins.map((margin) => scale * margin));
  }).flat();
}

/**
 * Finds the scale s ≥ 0 that maximises Σ t log σ(s · margin) + (1 − t) log σ(−s · margin), by bisection: its derivative
 * decreases in s. The target t = (n + 1) / (n + 2) of n pairs in place of 1 is Platt's (1999): the probability after n right
 * answers of a uniform prior, so that a few pairs that all agree do not make labels certain.
 */
function bestScale(margins: readonly number[]): number {
  const target = (margins.length + 1) / (margins.length + 2);
  const slope = (s: number) =>
    margins.reduce((sum, margin) => sum + margin * (target - 1 / (1 + Math.exp(-s * margin))), 0);
  if (slope(0) <= 0) return 0;
  let [low, high] = [0, 1];
  while (slope(high) > 0) high *= 2;
  while (high - low > 1e-9 * high) {
    const middle = (low + high) / 2;
    if (slope(middle) > 0) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
