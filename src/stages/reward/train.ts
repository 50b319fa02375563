import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { batchGroups, type Group, groupByPrompt, pairTensors, toMeans } from "../../batch/groups.ts";
import { sequenceScores } from "../../batch/score.ts";
import { InputError } from "../../data/errors.ts";
import { readComparisons } from "../../data/readers.ts";
import type { Comparison } from "../../data/records.ts";
import { batchAt, splitByPrompt } from "../../data/split.ts";
import { mean } from "../../math/index.ts";
import { Ensemble } from "../../models/ensemble.ts";
import type { Model } from "../../models/model.ts";
import { accumulate } from "../../nn/accumulate.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import { fewComparisons } from "../../run/warnings.ts";
import { Stage, type StageOptions, type StageState, splitOptions } from "../stage.ts";
import { completionsTooLong, countSteps, readRecords, supervisedStep } from "../supervised.ts";
import { type RewardConfig, type RewardSettings, rewardConfig } from "./config.ts";
import { evaluate, type RewardReport } from "./evaluate.ts";
import { rankingLoss } from "./loss.ts";
import { meanMetrics, measureDistribution, normalise, openMember } from "./members.ts";
import { probeHead } from "./probe.ts";

export interface RewardOptions extends RewardSettings, StageOptions {
  /** The SFT model, or a name or path for `loadModel`: backbone of the reward model and source of the reference samples. */
  model: Model | string;
  /** Rankings, or a JSONL file of them. */
  data: string | readonly Comparison[];
}

export interface RewardResult<T extends Model | Ensemble = Model> {
  /** The reward model, or with `members` the ensemble of them: new, and yours to dispose of. */
  model: T;
  metrics: Metrics;
  /** On the held-out prompts; undefined when none were. */
  report: RewardReport | undefined;
}

interface RewardState extends StageState {
  report: RewardReport | undefined;
}

/**
 * Trains a reward model on rankings (Ouyang et al. 2022, §3.5), or with `members` an ensemble (Coste et al. 2023): all
 * pairs of a prompt in one step, with one forward per completion. Afterwards scores are shifted and scaled to mean 0 and
 * deviation 1 over samples of the model it began from, those of each member by itself.
 * @throws InputError for bad data or settings, DivergedError when the loss is not finite
 */
export function reward(options: RewardOptions & { members?: undefined }): Training<RewardResult>;
export function reward(options: RewardOptions): Training<RewardResult<Model | Ensemble>>;
export function reward(options: RewardOptions): Training<RewardResult<Model | Ensemble>> {
  return training(train(options));
}

async function* train({
  model: from,
  data,
  ...rest
}: RewardOptions): AsyncGenerator<Event, RewardResult<Model | Ensemble>> {
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

    const members = Array.from({ length: config.members ?? 1 }, (_, i) =>
      openMember(stage, groups, i, config),
    );
    const models = members.map(({ model }) => model);
    stage.onSave((dir) => {
      if (config.members) new Ensemble(models, config).describe(dir);
      const { report } = stage.state;
      if (report) writeFileSync(join(dir, "report.json"), JSON.stringify(report, null, 2));
    });
    if (config.headInit === "probe" && !stage.checkpoint)
      yield* stage.phase("fitting the head to the comparisons", () => {
        for (const { model, groups } of members) probeHead(model, groups, config.microBatchTokens);
      });
    const pairs = groups.reduce((sum, { pairs }) => sum + pairs.length, 0);
    yield* stage.start([...warnings, ...fewComparisons(pairs), ...completionsTooLong(tooLong, maxLength)]);

    const step = () => {
      const progress = { stage: "reward", step: stage.state.step, total, perEpoch };
      const metrics = members.map(({ model, optimizer, groups }) => {
        const batch = batchAt(groups, stage.state.step, perEpoch, config);
        const rows = batch.flatMap(({ rows }) => rows);
        return supervisedStep({ ...progress, optimizer, ...config }, rows, () =>
          learn(model, batch, config.microBatchTokens),
        );
      });
      return { metrics: meanMetrics(metrics) };
    };
    const { saveEvery = perEpoch, evalEvery: every = perEpoch } = config;
    const what = `evaluating on ${unseen.length} held-out prompts`;
    const measure = () => {
      const report = evaluate(models, unseen);
      stage.state = { ...stage.state, report };
      return { metrics: report.metrics };
    };
    // The last evaluation comes before normalisation: calibration wants the model's own scale.
    const ending = () => {
      for (const { optimizer } of members) stage.release(optimizer);
      return settle(stage, models, groups, unseen, config);
    };
    yield* stage.steps({
      saveEvery,
      step,
      evaluations: [unseen.length ? { every, what, measure } : undefined],
      ending,
    });
    const { metrics, report } = stage.state;
    const trained = config.members ? new Ensemble(models, config) : (models[0] as Model);
    return { model: yield* stage.finish(trained, models), metrics, report };
  } finally {
    stage.dispose();
  }
}

/** Normalises the scores, and measures what a single model makes of the answers that it learned from. */
async function* settle(
  stage: Stage<RewardState>,
  models: readonly Model[],
  groups: readonly Group[],
  unseen: readonly Group[],
  config: RewardConfig,
): AsyncGenerator<Event> {
  if (config.normaliseSamples) {
    const what = `sampling ${config.normaliseSamples} answers to normalise the scores`;
    const prompts = groups.map(({ prompt }) => prompt);
    const scores = yield* stage.phase(what, async () =>
      normalise(models, await stage.reopenBase(), prompts, config, stage.signal),
    );
    stage.state = { ...stage.state, metrics: { ...stage.state.metrics, ...scores } };
  }
  // An ensemble's members tell by their disagreement what they know nothing of.
  if (unseen.length && models.length === 1)
    yield* stage.phase("measuring the answers that were learned from", () =>
      measureDistribution(models[0] as Model, groups, unseen),
    );
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
