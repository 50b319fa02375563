import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { batchGroups, type Group, groupByPrompt, pairTensors, toMeans } from "../../batch/groups.ts";
import { scoreAll, sequenceScores } from "../../batch/score.ts";
import { InputError } from "../../data/errors.ts";
import { readComparisons } from "../../data/readers.ts";
import type { Comparison, Message } from "../../data/records.ts";
import { batchAt, shuffled, splitByPrompt } from "../../data/split.ts";
import { emptyMoments, mean, mergeMoments, standardDeviation } from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import { accumulate } from "../../nn/accumulate.ts";
import { modelSampler } from "../../rollout/generate.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import { fewComparisons } from "../../run/warnings.ts";
import { encodeAnswer } from "../../text/chat.ts";
import { Stage, type StageOptions, type StageState, splitOptions } from "../stage.ts";
import { completionsTooLong, countSteps, readRecords, supervisedStep } from "../supervised.ts";
import { type RewardConfig, type RewardSettings, rewardConfig } from "./config.ts";
import { evaluate, type RewardReport } from "./evaluate.ts";
import { rankingLoss } from "./loss.ts";
import { probeHead } from "./probe.ts";

export interface RewardOptions extends RewardSettings, StageOptions {
  /** The SFT model, or a name or path for `loadModel`: backbone of the reward model and source of the reference samples. */
  model: Model | string;
  /** Rankings, or a JSONL file of them. */
  data: string | readonly Comparison[];
}

export interface RewardResult {
  /** The reward model: a new one with a scalar head, yours to dispose of. */
  model: Model;
  metrics: Metrics;
  /** On the held-out prompts; undefined when none were. */
  report: RewardReport | undefined;
}

interface RewardState extends StageState {
  report: RewardReport | undefined;
}

/**
 * Trains a reward model on rankings (Ouyang et al. 2022, §3.5): all pairs of a prompt in one step, with one forward per
 * completion. Afterwards scores are shifted and scaled to mean 0 and deviation 1 over samples of the model it began from.
 * @throws InputError for bad data or settings, DivergedError when the loss is not finite
 */
export const reward = (options: RewardOptions): Training<RewardResult> => training(train(options));

async function* train({ model: from, data, ...rest }: RewardOptions): AsyncGenerator<Event, RewardResult> {
  const { options, settings } = splitOptions(rest);
  const config = parseConfig(rewardConfig, settings, "reward");
  const { records, warnings } = await readRecords(data, readComparisons, options.columns);
  if (!records.length) throw new InputError("reward: there are no comparisons");
  const state: RewardState = { step: 0, metrics: {}, report: undefined };
  const stage = await Stage.open("reward", from, options, config, state);
  try {
    const { base } = stage;
    if (base.head !== "lm")
      throw new InputError("reward: the model has a scalar head already: begin from a language model");
    const maxLength = Math.min(config.maxLength, base.dimensions.context);
    const { groups, unseen, tooLong } = readGroups(base, records, maxLength, config);
    const perEpoch = Math.ceil(groups.length / config.batchSize);
    const total = countSteps(perEpoch, config);
    stage.openRun({ total, data: { data }, parents: [from] });

    const std = config.headInit === "openai" ? 1 / Math.sqrt(base.dimensions.hidden + 1) : 0.02;
    const model = stage.learner((share) => base.withScoreHead({ std, seed: config.seed, share }));
    const optimizer = stage.optimizer("reward", model, { weightDecay: config.weightDecay });
    stage.onSave((dir) => {
      const { report } = stage.state;
      if (report) writeFileSync(join(dir, "report.json"), JSON.stringify(report, null, 2));
    });
    if (config.headInit === "probe" && !stage.checkpoint)
      yield* stage.phase("fitting the head to the comparisons", () =>
        probeHead(model, groups, config.microBatchTokens),
      );
    const pairs = groups.reduce((sum, { pairs }) => sum + pairs.length, 0);
    yield* stage.start([...warnings, ...fewComparisons(pairs), ...completionsTooLong(tooLong, maxLength)]);

    const step = () => {
      const batch = batchAt(groups, stage.state.step, perEpoch, config);
      const rows = batch.flatMap(({ rows }) => rows);
      const progress = { stage: "reward", step: stage.state.step, total, perEpoch };
      const metrics = supervisedStep({ ...progress, optimizer, ...config }, rows, () =>
        learn(model, batch, config.microBatchTokens),
      );
      return { metrics };
    };
    const { saveEvery = perEpoch, evalEvery: every = perEpoch } = config;
    const what = `evaluating on ${unseen.length} held-out prompts`;
    const measure = () => {
      const report = evaluate(model, unseen);
      stage.state = { ...stage.state, report };
      return { metrics: report.metrics };
    };
    // The last evaluation comes before normalisation: calibration wants the model's own scale.
    const normalising = async function* (): AsyncGenerator<Event> {
      if (!config.normaliseSamples) return;
      stage.release(optimizer);
      const what = `sampling ${config.normaliseSamples} answers to normalise the scores`;
      const prompts = groups.map(({ prompt }) => prompt);
      const scores = yield* stage.phase(what, async () =>
        normalise(model, await stage.reopenBase(), prompts, config, stage.signal),
      );
      const measured = { "normalisation/mean": scores.mean, "normalisation/std": scores.std };
      stage.state = { ...stage.state, metrics: { ...stage.state.metrics, ...measured } };
    };
    yield* stage.steps({
      saveEvery,
      step,
      evaluate: unseen.length ? { every, what, measure } : undefined,
      ending: normalising,
    });
    const { metrics, report } = stage.state;
    return { model: yield* stage.finish(model), metrics, report };
  } finally {
    stage.dispose();
  }
}

/** Groups comparisons by prompt, to learn from and held out. @throws InputError when there is no pair to learn from */
function readGroups(model: Model, records: readonly Comparison[], maxLength: number, config: RewardConfig) {
  const { train, heldOut } = splitByPrompt(records, config.heldOut, config.seed);
  const { groups, tooLong } = groupByPrompt(model, train, maxLength);
  if (!groups.length)
    throw new InputError(
      `reward: no pair is left of ${records.length} comparisons: all are ties or longer than ${maxLength} tokens`,
    );
  return { groups, unseen: groupByPrompt(model, heldOut, maxLength).groups, tooLong };
}

/** Adds the gradients of a batch. */
function learn(model: Model, batch: readonly Group[], microBatchTokens: number): Metrics {
  const scores: number[] = [];
  const metrics = accumulate(
    batchGroups(batch, microBatchTokens),
    (part) => lossOf(model, part, batch.length, scores),
    model,
  );
  return {
    ...toMeans(metrics),
    min_reward: Math.min(...scores),
    mean_reward: mean(scores),
    max_reward: Math.max(...scores),
  };
}

/** Computes the ranking loss of groups as their share of a batch of `prompts`, and adds their scores to `allScores`. */
function lossOf(model: Model, groups: readonly Group[], prompts: number, allScores: number[]) {
  const scores = sequenceScores(
    model,
    groups.flatMap(({ rows }) => rows),
  );
  allScores.push(...scores.detach().toArray());
  const { better, worse, weights, margins } = pairTensors(groups, prompts);
  return rankingLoss(scores, better, worse, weights, margins);
}

/** Normalises scores to mean 0, deviation 1 on samples of the base model that fit its context. @returns mean and deviation before */
async function normalise(
  model: Model,
  base: Model,
  prompts: Message[][],
  config: RewardConfig,
  signal?: AbortSignal,
): Promise<{ mean: number; std: number }> {
  const chosen = shuffled(prompts.length, config.seed)
    .slice(0, config.normaliseSamples)
    .map((i) => prompts[i] as Message[]);
  const samples = Math.ceil(config.normaliseSamples / chosen.length);
  const completions = await modelSampler(base).sample(chosen, {
    maxTokens: config.sampleTokens,
    samples,
    seed: config.seed,
    signal,
  });
  // A text may be longer than the tokens that it was sampled as, and then not fit.
  const rows = completions
    .map(({ promptIndex, text }) => encodeAnswer(model.text, chosen[promptIndex] as Message[], text))
    .filter(({ promptTokens, tokens }) => promptTokens.length + tokens.length <= model.dimensions.context);
  if (!rows.length) return { mean: 0, std: 1 };
  const moments = mergeMoments(emptyMoments, scoreAll(model, rows));
  model.normaliseScores(moments.mean, standardDeviation(moments));
  return { mean: moments.mean, std: standardDeviation(moments) };
}
