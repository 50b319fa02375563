import type { Interval } from "../statistics/bootstrap.ts";
import { fitLogistic, type Observation } from "./logistic.ts";

/** A comparison of two policies on a prompt. */
export interface Match {
  first: string;
  second: string;
  /** From 0 to 1: how much the first won. A tie is one half. */
  outcome: number;
  /** Default: 1. */
  weight?: number;
  /** The prompt: matches on one depend on each other. Default: they do not. */
  prompt?: unknown;
  /** Differences of style, first less second, such as `styleDifference`; as many in each match. */
  style?: readonly number[];
}

export interface Ratings {
  /** Log-ability of each policy, with its 95 % interval. They sum to 0: a difference of x wins σ(x) of the matches. */
  ratings: Map<string, Interval>;
  /** What a unit of each feature of style is worth, in log-odds. */
  style: Interval[];
  /** Difference of two ratings with its interval, which is narrower than those of the two would make it. */
  difference: (first: string, second: string) => Interval;
}

/** Ridge on log-abilities, without which one who wins all would have an infinite one, and their sum would be open. */
const ridge = 1e-5;
/** Ridge on features of style, beside the sum over matches. Arena-rank's `reg` is beside the mean: 1 / matches is the same. */
const styleRidge = 1;

/**
 * Rates policies by the Bradley-Terry model (1952), P(first wins) = σ(a − b + style · c), with sandwich intervals clustered
 * by prompt. With style, ratings are those at equal style (style control; Li et al. 2024).
 */
export function bradleyTerry(matches: readonly Match[]): Ratings {
  const names = [...new Set(matches.flatMap(({ first, second }) => [first, second]))];
  const places = new Map(names.map((name, place) => [name, place]));
  const features = matches[0]?.style?.length ?? 0;
  const observations = matches.map(({ first, second, outcome, weight, prompt, style = [] }): Observation => {
    const x = [...names.map(() => 0), ...style];
    x[places.get(first) as number] = 1;
    x[places.get(second) as number] = -1;
    return {
      features: x,
      outcome,
      ...(weight !== undefined && { weight }),
      ...(prompt !== undefined && { cluster: prompt }),
    };
  });
  const penalties = [...names.map(() => ridge), ...new Array<number>(features).fill(styleRidge)];
  const { coefficients, covariance } = fitLogistic(observations, penalties);
  const intervalOf = (contrast: readonly number[]): Interval => {
    const value = contrast.reduce((sum, c, i) => sum + c * (coefficients[i] as number), 0);
    let variance = 0;
    for (const [i, a] of contrast.entries())
      for (const [j, b] of contrast.entries()) variance += a * b * (covariance[i]?.[j] as number);
    const half = 1.959964 * Math.sqrt(Math.max(0, variance));
    return { value, low: value - half, high: value + half };
  };
  const unit = (place: number) => penalties.map((_, i) => Number(i === place));
  const centred = (place: number) => unit(place).map((x, i) => x - (i < names.length ? 1 / names.length : 0));
  return {
    ratings: new Map(names.map((name, place) => [name, intervalOf(centred(place))])),
    style: Array.from({ length: features }, (_, i) => intervalOf(unit(names.length + i))),
    difference: (first, second) => {
      const [a, b] = [first, second].map((name) => unit(places.get(name) as number));
      return intervalOf((a as number[]).map((x, i) => x - (b?.[i] as number)));
    },
  };
}
