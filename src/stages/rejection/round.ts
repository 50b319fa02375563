import { countTokens, type Row } from "../../batch/pack.ts";
import { InputError } from "../../data/errors.ts";
import type { Prompt } from "../../data/records.ts";
import { batchAt, drawAt } from "../../data/split.ts";
import { responseKl } from "../../eval/evaluate.ts";
import { emptyMoments, mean, mergeMoments, type RunningMoments } from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import type { AdamW } from "../../nn/adamw.ts";
import { meanParts, type Scorer } from "../../rewards/scorer.ts";
import { type ScoredCompletion, sampleAndScore } from "../../rollout/sample-and-score.ts";
import type { Sampler } from "../../rollout/sampler.ts";
import { summariseCompletions } from "../../rollout/summary.ts";
import type { Metrics } from "../../run/events.ts";
import { noEos } from "../../run/warnings.ts";
import type { StepResult } from "../loop.ts";
import type { MonitoredState } from "../monitor.ts";
import { samplingOptions } from "../settings.ts";
import type { Stage } from "../stage.ts";
import { countSteps, demonstrationLoss, supervisedStep } from "../supervised.ts";
import type { RejectionConfig } from "./config.ts";
import { selectResponses } from "./select.ts";

// The steps of a round: first some that sample, then some that learn.

/** A kept response. `prompt`: index of its prompt in the round. */
interface KeptResponse extends Row {
  prompt: number;
  score: number;
}

export interface RejectionState extends MonitoredState {
  kept: KeptResponse[];
  /** Moments, lowest and highest of the scores of the round's responses. */
  scores: RunningMoments & { low: number; high: number };
}

/** State before a round's first step. */
export const emptyRound: Pick<RejectionState, "kept" | "scores"> = {
  kept: [],
  scores: { ...emptyMoments, low: Number.MAX_VALUE, high: -Number.MAX_VALUE }, // JSON has no infinity
};

interface Context {
  stage: Stage<RejectionState>;
  policy: Model;
  /** The model that the policy began as, where a later round measures its KL to it. */
  start: Model | undefined;
  optimizer: AdamW;
  sampler: Sampler;
  scorer: Scorer;
  prompts: readonly Prompt[];
  plan: ReturnType<typeof planRounds>;
  config: RejectionConfig;
}

type Step = StepResult<RejectionState>;

/** Counts the steps of a round: first those that sample, then those that learn. */
export function planRounds(available: number, config: RejectionConfig) {
  const { promptsPerRound: prompts = available, samplesPerPrompt, rolloutBatchSize, batchSize } = config;
  const promptsPerSampling = Math.max(1, Math.floor(rolloutBatchSize / samplesPerPrompt));
  const samplings = Math.ceil(prompts / promptsPerSampling);
  const learningsPerEpoch = Math.ceil(prompts / batchSize);
  const learnings = countSteps(learningsPerEpoch, config);
  return {
    prompts,
    promptsPerSampling,
    samplings,
    learningsPerEpoch,
    learnings,
    steps: samplings + learnings,
  };
}

/** Samples responses to some of the round's prompts, and keeps those to learn from. */
export async function sampleStep(context: Context, round: number, position: number): Promise<Step> {
  const { stage, policy, start, sampler, scorer, prompts, plan, config } = context;
  const began = performance.now();
  const first = position * plan.promptsPerSampling;
  const count = Math.min(plan.promptsPerSampling, plan.prompts - first);
  const batch = drawAt(prompts, round * plan.prompts + first, count, config.seed);
  const sampling = { ...samplingOptions(config), samples: config.samplesPerPrompt, signal: stage.signal };
  const samples = await sampleAndScore(sampler, scorer, batch, sampling);
  const chosen = selectResponses(samples, config);
  const before = position === 0 ? emptyRound : stage.state;
  const kept = [...before.kept, ...chosen.map((response) => toKept(response, first))];
  const scores = addScores(before.scores, samples);
  if (position === plan.samplings - 1 && !kept.length) throw nothingKept(round, scores, config);
  const summary = summariseCompletions(samples);
  const metrics = {
    ...summary,
    ...meanParts(samples),
    // The first round samples from the start itself.
    ...(start && {
      "objective/kl": round === 0 ? 0 : mean(responseKl(policy, start, samples, config.temperature)),
    }),
    ...roundMetrics(round, kept, scores, first + count),
    episode: (stage.state.metrics.episode ?? 0) + samples.length,
    tokens_per_second: countTokens(samples) / ((performance.now() - began) / 1000),
  };
  return {
    metrics,
    state: { kept, scores },
    samples: stage.journal.samples(stage.state.step + 1, chosen.slice(0, config.logSamples)),
    warnings: noEos(summary["completions/clipped_ratio"] as number),
  };
}

/** Learns from the kept responses to some of the round's prompts. */
export function learnStep(context: Context, round: number, position: number): Step {
  const { stage, policy, optimizer, plan, config } = context;
  const { kept, metrics } = stage.state;
  const indices = Array.from({ length: plan.prompts }, (_, i) => i);
  const batch = new Set(
    batchAt(indices, position, plan.learningsPerEpoch, { ...config, seed: config.seed + round }),
  );
  const rows = kept.filter(({ prompt }) => batch.has(prompt));
  if (!rows.length) return { metrics }; // with a bar, a prompt may have no response to learn from
  const progress = {
    stage: "rejection, learning",
    step: round * plan.learnings + position,
    total: config.rounds * plan.learnings,
    perEpoch: plan.learningsPerEpoch,
  };
  const learned = supervisedStep({ ...progress, optimizer, ...config }, rows, () =>
    demonstrationLoss(policy, rows, config.microBatchTokens, true),
  );
  return { metrics: { ...metrics, ...learned } };
}

/** @param first index in the round of the first prompt that was sampled from with it */
const toKept = (
  { promptIndex, promptTokens, tokens, score }: ScoredCompletion,
  first: number,
): KeptResponse => ({ prompt: first + promptIndex, promptTokens, tokens, score });

function addScores(scores: RejectionState["scores"], samples: readonly ScoredCompletion[]) {
  const values = samples.map(({ score }) => score);
  return {
    ...mergeMoments(scores, values),
    low: Math.min(scores.low, ...values),
    high: Math.max(scores.high, ...values),
  };
}

/** Summarises a round so far. @param sampled prompts that were sampled from */
const roundMetrics = (
  round: number,
  kept: readonly KeptResponse[],
  scores: RunningMoments,
  sampled: number,
): Metrics => ({
  round: round + 1,
  "objective/scores": scores.mean,
  ...(kept.length && { "kept/scores": mean(kept.map(({ score }) => score)) }),
  "kept/share": kept.length / scores.count,
  "kept/prompts": new Set(kept.map(({ prompt }) => prompt)).size / sampled,
});

function nothingKept(round: number, scores: RejectionState["scores"], { bar }: RejectionConfig): InputError {
  const [low, mean, high] = [scores.low, scores.mean, scores.high].map((value) =>
    String(Number(value.toPrecision(3))),
  );
  return new InputError(
    `rejection: no response of round ${round + 1} has a score of ${bar} or more: ${scores.count} scores from ${low} to ${high}, mean ${mean}. Lower bar, or set keep=best`,
  );
}
