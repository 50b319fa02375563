import type { Interval } from "../statistics/bootstrap.ts";
import { fitLogistic, sigmoid } from "./logistic.ts";

// Win rates at equal length (Dubois et al. 2024, AlpacaEval 2): judges prefer longer answers, whatever is in them.

/** A judged pair: a policy's answer beside the baseline's. */
export interface JudgedAnswer {
  /** Preference for the policy's answer, from 0 to 1. */
  preference: number;
  /** Length of the policy's answer less that of the baseline's, in characters. */
  lengthDifference: number;
  /** The prompt. */
  prompt: unknown;
  /** Default: 1. */
  weight?: number;
}

/**
 * Estimates how often the policy would win if its answers were as long as the baseline's: P = σ(θ · tanh(Δ / std Δ) + α) is
 * fitted by logistic regression, and Δ set to 0. The interval is clustered by prompt.
 */
export function lengthControlledWinRate(judged: readonly JudgedAnswer[]): Interval {
  const differences = judged.map(({ lengthDifference }) => lengthDifference);
  const mean = differences.reduce((a, b) => a + b, 0) / differences.length;
  const deviation = Math.sqrt(
    differences.reduce((sum, difference) => sum + (difference - mean) ** 2, 0) / differences.length,
  );
  const { coefficients, covariance } = fitLogistic(
    judged.map(({ preference, lengthDifference, prompt, weight = 1 }) => ({
      features: [1, deviation > 0 ? Math.tanh(lengthDifference / deviation) : 0],
      outcome: preference,
      weight,
      cluster: prompt,
    })),
    [1e-6, 1e-6],
  );
  const [advantage = 0] = coefficients;
  const half = 1.959964 * Math.sqrt(covariance[0]?.[0] ?? 0);
  return { value: sigmoid(advantage), low: sigmoid(advantage - half), high: sigmoid(advantage + half) };
}

/** Weights of AlpacaEval 2's published fit of a model. */
export interface PublishedWeights {
  model: number;
  difficulty: number;
}

/**
 * Computes AlpacaEval 2's length-controlled win rate of a model from its published weights: the mean of
 * σ(θ_model + θ_difficulty · difficulty of the instruction).
 */
export const publishedWinRate = (weights: PublishedWeights, difficulties: readonly number[]): number =>
  difficulties.reduce(
    (sum, difficulty) => sum + sigmoid(weights.model + weights.difficulty * difficulty),
    0,
  ) / difficulties.length;
