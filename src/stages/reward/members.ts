import type { Group } from "../../batch/groups.ts";
import { allLastHiddenStates, scoreAll } from "../../batch/score.ts";
import type { Message } from "../../data/records.ts";
import { shuffled } from "../../data/split.ts";
import { emptyMoments, mean, mergeMoments, standardDeviation } from "../../math/index.ts";
import { memberFolder } from "../../models/ensemble.ts";
import type { Model } from "../../models/model.ts";
import { fitDistribution } from "../../models/training-distribution.ts";
import type { AdamW } from "../../nn/adamw.ts";
import { modelSampler } from "../../rollout/generate.ts";
import type { Metrics } from "../../run/events.ts";
import { uniform } from "../../statistics/random.ts";
import { noGrad, scope } from "../../tensor/index.ts";
import { encodeAnswer } from "../../text/chat.ts";
import type { Stage, StageState } from "../stage.ts";
import type { RewardConfig } from "./config.ts";

/** A reward model in training. */
interface Member {
  model: Model;
  optimizer: AdamW;
  /** What it learns from. */
  groups: readonly Group[];
}

/**
 * Opens a reward model to train: the only one, which learns from all prompts, or the member of an ensemble, which has a
 * head of its own and prompts drawn with replacement.
 * @param index of the member, from 0
 */
export function openMember<State extends StageState>(
  stage: Stage<State>,
  groups: readonly Group[],
  index: number,
  config: RewardConfig,
): Member {
  const { members, headInit, weightDecay } = config;
  const std = headInit === "openai" ? 1 / Math.sqrt(stage.base.dimensions.hidden + 1) : 0.02;
  const seed = config.seed + index * memberSeeds;
  const model = stage.learner((share) => stage.base.withScoreHead({ std, seed, share }), {
    seed,
    keepBase: members !== undefined && index < members - 1,
    folder: members === undefined ? "." : memberFolder(index),
  });
  const optimizer = stage.optimizer(members === undefined ? "reward" : `reward-${index + 1}`, model, {
    weightDecay,
  });
  return { model, optimizer, groups: members === undefined ? groups : resample(groups, uniform(seed)) };
}

/** Between the seeds of members, so that those of runs with seeds 0, 1, 2, … all differ. */
const memberSeeds = 1_000_003;

/** Draws as many items as there are, with replacement. */
const resample = <T>(items: readonly T[], random: () => number): T[] =>
  items.map(() => items[Math.floor(random() * items.length)] as T);

/** Means over the members of an ensemble. */
export const meanMetrics = (all: readonly Metrics[]): Metrics =>
  Object.fromEntries(
    Object.keys(all[0] as Metrics).map((name) => [name, mean(all.map((metrics) => metrics[name] as number))]),
  );

/**
 * Normalises the scores of each model to mean 0, deviation 1 on samples of the base model that fit its context.
 * @returns mean and deviation before, averaged over the models, and how far the models then disagree about the samples
 */
export async function normalise(
  models: readonly Model[],
  base: Model,
  prompts: Message[][],
  config: RewardConfig,
  signal?: AbortSignal,
): Promise<Metrics> {
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
    .map(({ promptIndex, text }) => encodeAnswer(base.text, chosen[promptIndex] as Message[], text))
    .filter(({ promptTokens, tokens }) => promptTokens.length + tokens.length <= base.dimensions.context);
  if (!rows.length) return { "normalisation/mean": 0, "normalisation/std": 1 };
  const measured = models.map((model) => {
    const scores = scoreAll(model, rows);
    const moments = mergeMoments(emptyMoments, scores);
    const std = standardDeviation(moments);
    model.normaliseScores(moments.mean, std);
    return { mean: moments.mean, std, scores: scores.map((score) => (score - moments.mean) / std) };
  });
  const spreads = rows.map((_, i) =>
    standardDeviation(
      mergeMoments(
        emptyMoments,
        measured.map(({ scores }) => scores[i] as number),
      ),
    ),
  );
  return {
    "normalisation/mean": mean(measured.map(({ mean }) => mean)),
    "normalisation/std": mean(measured.map(({ std }) => std)),
    ...(models.length > 1 && { "normalisation/disagreement": mean(spreads) }),
  };
}

/** Answers that the distribution of a reward model's training data is measured on at most. */
const measuredAnswers = 1000;

/** Records how the reward model sees the answers that it learned from, for `distance` in later scores. */
export function measureDistribution(model: Model, groups: readonly Group[], heldOut: readonly Group[]): void {
  const rowsOf = (of: readonly Group[]) => of.flatMap(({ rows }) => rows).slice(0, measuredAnswers);
  const rows = rowsOf(groups);
  const [states, others] = [allLastHiddenStates(model, rows), allLastHiddenStates(model, rowsOf(heldOut))];
  const scores = noGrad(() => scope(() => model.scores(states.toDevice(model.device)).toArray()));
  model.distribution = fitDistribution(states, scores, others);
  for (const tensor of [states, others]) tensor.dispose();
}
