import { batchRows, type Row } from "../batch/pack.ts";
import { layOutResponses, padResponses, responseLogprobs } from "../batch/score.ts";
import type { Prompt } from "../data/records.ts";
import { bootstrap, type Interval, klEstimate, mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import type { Scorer } from "../rewards/scorer.ts";
import { modelSampler } from "../rollout/generate.ts";
import { type ScoredCompletion, sampleAndScore } from "../rollout/sample-and-score.ts";
import { isFinished } from "../rollout/sampler.ts";
import { noGrad, scope } from "../tensor/index.ts";

/** A completion with its gold score: that of a checker that knows the truth. */
export interface EvaluatedCompletion extends ScoredCompletion {
  gold: number;
}

/** How a model answers held-out prompts. Intervals are 95 %, bootstrapped over prompts. */
export interface Evaluation {
  samples: EvaluatedCompletion[];
  /** Mean gold score. */
  gold: Interval;
  /** Mean score of the reward. */
  proxy: Interval;
  /** KL to the reference in nats per response: k1 estimate on these samples. */
  kl: number;
  /** Mean tokens per response. */
  length: number;
  /**
   * Distinct words, and pairs of words, over all words of the first response to each prompt: the larger the set, the smaller
   * both, so that only sets of equal size compare.
   */
  distinct1: number;
  distinct2: number;
  /** Share of responses that reached a stop token. */
  finished: number;
}

export interface EvaluateOptions {
  model: Model;
  /** Reference model of the KL. */
  reference: Model;
  /** The reward that the model was trained on. */
  scorer: Scorer;
  prompts: readonly Prompt[];
  /** Computes the gold score of a response, which no model was trained on. */
  gold: (sample: ScoredCompletion) => number;
  /** Responses to each prompt. Default: 1. */
  samples?: number;
  maxTokens: number;
  temperature?: number;
  /** Responses decoded together. */
  batchSize?: number;
  seed?: number;
  signal?: AbortSignal | undefined;
}

/** Samples responses to each prompt and measures gold score, reward, KL to the reference, length and diversity. */
export async function evaluate({
  model,
  reference,
  scorer,
  prompts,
  gold,
  ...options
}: EvaluateOptions): Promise<Evaluation> {
  const { temperature = 1 } = options;
  const scored = await sampleAndScore(modelSampler(model), scorer, prompts, { ...options, temperature });
  const samples = scored.map((sample) => ({ ...sample, gold: gold(sample) }));
  // One response per prompt is enough for a mean that is shown to a tenth of a nat.
  const first = samples.filter(({ promptIndex }, i) => promptIndex !== samples[i - 1]?.promptIndex);
  const overPrompts = (measure: (sample: EvaluatedCompletion) => number): Interval =>
    bootstrap(
      prompts.map((_, i) => mean(samples.filter(({ promptIndex }) => promptIndex === i).map(measure))),
      mean,
    );
  const texts = first.map(({ text }) => text);
  return {
    samples,
    gold: overPrompts(({ gold }) => gold),
    proxy: overPrompts(({ score }) => score),
    kl: model === reference ? 0 : mean(responseKl(model, reference, first, temperature)),
    length: mean(samples.map(({ tokens }) => tokens.length)),
    distinct1: distinct(texts, 1),
    distinct2: distinct(texts, 2),
    finished: mean(samples.map((sample) => Number(isFinished(sample)))),
  };
}

/** Computes log π − log π_ref of each response, in nats: the k1 estimate of the KL, summed over tokens. */
export function responseKl(model: Model, reference: Model, rows: readonly Row[], temperature = 1): number[] {
  return batchRows(rows, 2048).flatMap((batch) =>
    noGrad(() =>
      scope(() => {
        const layout = layOutResponses(batch);
        const logprobs = (scored: Model) =>
          padResponses(layout, responseLogprobs(scored, layout, temperature));
        return klEstimate("k1", logprobs(model), logprobs(reference)).sum(1).toArray();
      }),
    ),
  );
}

/** Splits a text into words, in lower case. */
export const wordsOf = (text: string): string[] => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];

/**
 * Computes distinct-n: distinct n-grams of words over all words (Li et al. 2016). Low when texts repeat themselves or each
 * other. It falls with the size of the set, so compare as many texts of each model.
 */
export function distinct(texts: readonly string[], n: number): number {
  const wordsByText = texts.map(wordsOf);
  const grams = wordsByText.flatMap((words) =>
    words.slice(n - 1).map((_, i) => words.slice(i, i + n).join(" ")),
  );
  const words = wordsByText.reduce((sum, { length }) => sum + length, 0);
  return words ? new Set(grams).size / words : 0;
}

/** Computes the mean gold score of each prompt's samples. @param prompts number of prompts */
export const goldByPrompt = ({ samples }: Evaluation, prompts: number): number[] =>
  Array.from({ length: prompts }, (_, i) =>
    mean(samples.filter(({ promptIndex }) => promptIndex === i).map(({ gold }) => gold)),
  );

/** Computes the mean difference of two models' gold scores, paired by prompt, with its 95 % interval. */
export function goldDifference(a: Evaluation, b: Evaluation, prompts: number): Interval {
  const [golds, others] = [goldByPrompt(a, prompts), goldByPrompt(b, prompts)];
  return bootstrap(
    golds.map((gold, i) => gold - (others[i] as number)),
    mean,
  );
}
