import { batchGroups } from "../../batch/groups.ts";
import { countTokens } from "../../batch/pack.ts";
import { DivergedError } from "../../data/errors.ts";
import type { Prompt } from "../../data/records.ts";
import { drawAt } from "../../data/split.ts";
import type { Model } from "../../models/model.ts";
import { accumulate } from "../../nn/accumulate.ts";
import type { AdamW } from "../../nn/adamw.ts";
import { scheduleFactor } from "../../nn/schedule.ts";
import { type RewardInput, rewardNames } from "../../rewards/open.ts";
import { meanParts } from "../../rewards/scorer.ts";
import { modelSampler } from "../../rollout/generate.ts";
import { type ScoredCompletion, sampleAndScore } from "../../rollout/sample-and-score.ts";
import { isFinished } from "../../rollout/sampler.ts";
import { summariseCompletions } from "../../rollout/summary.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import { flatRewards, noEos } from "../../run/warnings.ts";
import { tensor } from "../../tensor/index.ts";
import { addReference, completionsOf, type Reference } from "../dpo/completions.ts";
import { pairLoss } from "../dpo/loss.ts";
import { mismatch, mismatchWarnings } from "../mismatch.ts";
import { type MonitoredState, openMonitor } from "../monitor.ts";
import { openSamplingInputs } from "../prompts.ts";
import { samplingOptions } from "../settings.ts";
import { Stage, type StageOptions, splitOptions } from "../stage.ts";
import { type OnlineConfig, type OnlineSettings, onlineConfig } from "./config.ts";

export interface OnlineDpoOptions extends OnlineSettings, StageOptions {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. It is not changed. */
  policy: Model | string;
  /** A reward model, or a name or path of one; a function, a module, a command, a server; or a weighted sum of such. */
  reward: RewardInput;
  /** Prompts, or a file of them. */
  prompts: string | readonly Prompt[];
}

export interface OnlineDpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

/**
 * Online DPO (Guo et al. 2024): each step samples responses of the policy as it is now, and learns to prefer the best of
 * each prompt's to the worst. @throws InputError for bad data or settings, DivergedError when the loss is not finite
 */
export const onlineDpo = (options: OnlineDpoOptions): Training<OnlineDpoResult> => training(train(options));

async function* train({
  policy: from,
  reward,
  prompts: source,
  ...rest
}: OnlineDpoOptions): AsyncGenerator<Event, OnlineDpoResult> {
  const { options, settings } = splitOptions(rest);
  const config = parseConfig(onlineConfig, settings, "online-dpo");
  const { steps, saveEvery, seed } = config;
  const state: MonitoredState = { step: 0, metrics: {} };
  const stage = await Stage.open("online-dpo", from, options, config, state);
  try {
    const { base: reference } = stage;
    const { scorer, prompts, warnings: tooLong } = await openSamplingInputs(stage, reward, source, config);
    const monitorOf = await openMonitor(stage, scorer, prompts, config);
    stage.openRun({
      total: steps,
      data: { prompts: source },
      config: { reward: rewardNames(reward) },
      parents: [from, reward],
    });
    const policy = stage.learner((share) => reference.clone({ share }), { keepBase: true });
    const optimizer = stage.optimizer("policy", policy);
    const sampler = modelSampler(policy, { rng: stage.rng() });
    const watch = monitorOf(policy);
    yield* stage.start(tooLong);
    const { samplesPerPrompt } = config;
    const sampling = { ...samplingOptions(config), samples: samplesPerPrompt, signal: stage.signal };
    const perStep = Math.max(1, Math.round(config.batchSize / samplesPerPrompt));

    const step = async () => {
      const began = performance.now();
      const { step: taken } = stage.state;
      const batch = drawAt(prompts, taken * perStep, perStep, seed);
      const samples = await sampleAndScore(sampler, scorer, batch, sampling);
      const lr = config.learningRate * scheduleFactor(config.schedule, taken, steps);
      const pairs = pairsOf(samples, config);
      const learned = pairs.length ? update(policy, reference, optimizer, pairs, lr, config) : {};
      if (Object.values(learned).some((value) => !Number.isFinite(value)))
        throw new DivergedError(
          `online-dpo: the loss is not finite at step ${taken + 1}: lower learningRate; checkpoints are kept`,
        );
      const seconds = (performance.now() - began) / 1000;
      const metrics: Metrics = {
        ...learned,
        ...summariseCompletions(samples),
        ...meanParts(samples),
        frac_reward_zero_std: 1 - pairs.length / batch.length,
        episode: (taken + 1) * samples.length,
        lr,
        tokens_per_second: countTokens(samples) / seconds,
        epoch: ((taken + 1) * perStep) / prompts.length,
      };
      return {
        metrics,
        samples: stage.journal.samples(taken + 1, samples.slice(0, config.logSamples)),
        warnings: [
          ...noEos(metrics["completions/clipped_ratio"] as number),
          ...flatRewards(metrics.frac_reward_zero_std as number),
          ...mismatchWarnings(metrics, policy),
        ],
      };
    };
    yield* stage.steps({ saveEvery, step, evaluations: [watch] });
    return { model: yield* stage.finish(policy), metrics: stage.state.metrics };
  } finally {
    stage.dispose();
  }
}

/** A prompt's best completion and its worst. */
interface Pair {
  rows: [best: ScoredCompletion, worst: ScoredCompletion];
}

/** Pairs of the prompts whose completions do not all score the same. */
function pairsOf(samples: readonly ScoredCompletion[], { missingEosPenalty }: OnlineConfig): Pair[] {
  const scoreOf = (sample: ScoredCompletion) => sample.score - (isFinished(sample) ? 0 : missingEosPenalty);
  return [...new Set(samples.map(({ promptIndex }) => promptIndex))].flatMap((prompt) => {
    const answers = samples.filter(({ promptIndex }) => promptIndex === prompt);
    const best = answers.reduce((a, b) => (scoreOf(b) > scoreOf(a) ? b : a));
    const worst = answers.reduce((a, b) => (scoreOf(b) < scoreOf(a) ? b : a));
    return scoreOf(best) > scoreOf(worst) ? [{ rows: [best, worst] }] : [];
  });
}

/** One optimiser step on pairs. */
function update(
  policy: Model,
  reference: Model,
  optimizer: AdamW,
  pairs: readonly Pair[],
  lr: number,
  config: OnlineConfig,
): Metrics {
  const referenceLogprobs: Reference = new Map();
  const rows = pairs.flatMap(({ rows }) => rows);
  addReference(referenceLogprobs, reference, rows);
  /** Indices of the pairs' better (0) or worse (1) completions: they alternate. */
  const side = (pairs: number, offset: 0 | 1) =>
    tensor(
      Array.from({ length: pairs }, (_, i) => 2 * i + offset),
      { dtype: "int64" },
    );
  const trainer: number[] = [];
  const metrics = accumulate(
    batchGroups(pairs, config.microBatchTokens),
    (part) => {
      const completions = completionsOf(
        policy,
        part.flatMap(({ rows }) => rows),
        referenceLogprobs,
      );
      trainer.push(...completions.tokenLogprobs.detach().toArray());
      return pairLoss(
        completions,
        side(part.length, 0),
        side(part.length, 1),
        tensor(part.map(() => 1 / pairs.length)),
        { ...config, targetMargin: 0 },
      );
    },
    policy,
  );
  return {
    ...metrics,
    grad_norm: optimizer.step(lr, config.maxGradNorm),
    // The loss is of the model's own distribution, so they are comparable at temperature 1 alone.
    ...(config.temperature === 1 ? mismatch(trainer, rows, config) : {}),
  };
}
