import { countLearned } from "../../batch/pack.ts";
import { tokenLogprobs } from "../../batch/score.ts";
import type { RunningMoments } from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import type { ScoredCompletion } from "../../rollout/sample-and-score.ts";
import { isFinished } from "../../rollout/sampler.ts";
import { advantagesOf } from "./advantages.ts";
import type { GrpoConfig } from "./config.ts";

/** A completion with what the update needs, computed before any update. */
export interface Experience extends ScoredCompletion {
  /** The score less its penalties, that of the KL among them where it is in the score. */
  reward: number;
  /** By how much it is better than its baseline. */
  advantage: number;
  /** Log-prob of each token under the policy before the updates. Undefined with a single update, which computes them itself. */
  oldLogprobs: number[] | undefined;
  /** Log-prob of each token under the reference; undefined without one. */
  refLogprobs: number[] | undefined;
  /** Tokens that are learned from. */
  counted: number;
}

/** Adds per-token values for the log. */
export const withTokens = (sample: Experience) => ({
  ...sample,
  perToken: {
    ...(sample.oldLogprobs ? { oldLogprobs: sample.oldLogprobs } : {}),
    ...(sample.refLogprobs ? { refLogprobs: sample.refLogprobs } : {}),
    advantages: sample.tokens.map(() => sample.advantage),
  },
});

/** Completions of an optimiser step. */
export const miniBatchOf = (samples: readonly unknown[], { miniBatchSize }: GrpoConfig): number =>
  miniBatchSize ?? samples.length;

/**
 * Computes log-probs and advantages of a batch before any update.
 * @param moments of all earlier rewards, for the running baseline
 */
export function prepare(
  policy: Model,
  reference: Model | undefined,
  samples: readonly ScoredCompletion[],
  moments: RunningMoments,
  config: GrpoConfig,
): Experience[] {
  const { temperature, klCoef, klIn, maskUnfinished, epochs } = config;
  // With one update the policy is the old one throughout, and the update itself computes its log-probs.
  const isUpdatedOnce = epochs === 1 && miniBatchOf(samples, config) >= samples.length;
  const old = isUpdatedOnce && klIn === "loss" ? undefined : tokenLogprobs(policy, samples, temperature);
  const ref = reference && tokenLogprobs(reference, samples, temperature);
  const sum = (values: readonly number[] = [], mask: readonly number[]) =>
    values.reduce((total, value, t) => total + value * (mask[t] as number), 0);
  const rewards = samples.map((sample, i) => {
    const kl = ref ? sum(old?.[i], sample.mask) - sum(ref[i], sample.mask) : 0;
    const score = shapeScore(sample, config);
    return klIn === "score" ? score - klCoef * kl : score;
  });
  const advantages = advantagesOf(
    samples.map(({ promptIndex }, i) => ({ promptIndex, score: rewards[i] as number })),
    moments,
    config,
  );
  return samples.map((sample, i) => ({
    ...sample,
    reward: rewards[i] as number,
    advantage: advantages[i] as number,
    oldLogprobs: old?.[i],
    refLogprobs: ref?.[i],
    counted: maskUnfinished && !isFinished(sample) ? 0 : countLearned([sample]),
  }));
}

/** Lowers the score of a completion that did not end by itself, or that is nearly too long. */
function shapeScore(
  { score, finishReason, tokens }: ScoredCompletion,
  { missingEosScore, missingEosPenalty, overlongTokens, maxTokens }: GrpoConfig,
): number {
  const shaped = isFinished({ finishReason }) ? score : (missingEosScore ?? score) - missingEosPenalty;
  if (!overlongTokens) return shaped;
  return shaped - Math.max(0, (tokens.length - (maxTokens - overlongTokens)) / overlongTokens);
}
