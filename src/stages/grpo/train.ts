import { countTokens } from "../../batch/pack.ts";
import { InputError } from "../../data/errors.ts";
import type { Prompt } from "../../data/records.ts";
import { emptyMoments, mergeMoments, type RunningMoments } from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import { type RewardInput, rewardNames } from "../../rewards/open.ts";
import { meanParts } from "../../rewards/scorer.ts";
import { modelSampler } from "../../rollout/generate.ts";
import { summariseCompletions } from "../../rollout/summary.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import { flatRewards, noEos } from "../../run/warnings.ts";
import { mismatchWarnings } from "../mismatch.ts";
import { type MonitoredState, openMonitor } from "../monitor.ts";
import { openSamplingInputs } from "../prompts.ts";
import { Stage, type StageOptions, splitOptions } from "../stage.ts";
import { type GrpoSettings, grpoConfig, withAlgorithm } from "./config.ts";
import { prepare, withTokens } from "./experience.ts";
import { rollOut } from "./rollout.ts";
import { learn } from "./update.ts";

export interface GrpoOptions extends GrpoSettings, StageOptions {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. It is not changed. */
  policy: Model | string;
  /** A reward model, or a name or path of one; a function, a module, a command, a server; or a weighted sum of such. */
  reward: RewardInput;
  /** Prompts, or a file of them. */
  prompts: string | readonly Prompt[];
}

export interface GrpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

interface GrpoState extends MonitoredState {
  /** Prompts drawn. */
  drawn: number;
  /** Moments of all rewards: scores less their penalties, as advantages are of. */
  moments: RunningMoments;
}

/**
 * Policy gradients without a critic: GRPO, Dr. GRPO, DAPO, GSPO, RLOO and REINFORCE, by `algorithm`. A step samples
 * several responses to each prompt, scores them, and learns from how each differs from its baseline.
 * @throws InputError for bad data or settings, DivergedError when the loss is not finite
 */
export const grpo = (options: GrpoOptions): Training<GrpoResult> => training(train(options));

async function* train({
  policy: from,
  reward,
  prompts: source,
  ...rest
}: GrpoOptions): AsyncGenerator<Event, GrpoResult> {
  const { options, settings } = splitOptions(rest);
  const config = withAlgorithm(parseConfig(grpoConfig, settings, "grpo"));
  if (config.baseline !== "running" && config.samplesPerPrompt < 2)
    throw new InputError(
      `grpo: ${config.algorithm} compares responses to the same prompt: samplesPerPrompt must be 2 or more`,
    );
  const state: GrpoState = { step: 0, drawn: 0, moments: emptyMoments, metrics: {} };
  const stage = await Stage.open("grpo", from, options, config, state);
  try {
    const { base } = stage;
    const { scorer, prompts, warnings: tooLong } = await openSamplingInputs(stage, reward, source, config);
    const monitorOf = await openMonitor(stage, scorer, prompts, config);
    stage.openRun({
      total: config.steps,
      data: { prompts: source },
      config: { reward: rewardNames(reward) },
      parents: [from, reward],
    });
    const reference = config.klCoef ? base : undefined;
    const policy = stage.learner((share) => base.clone({ share }), {
      keepBase: reference !== undefined || config.monitor !== undefined,
    });
    const optimizer = stage.optimizer("policy", policy);
    const sampler = modelSampler(policy, { rng: stage.rng() });
    const watch = monitorOf(policy);
    yield* stage.start(tooLong);

    const step = async () => {
      const began = performance.now();
      const { state } = stage;
      const rollout = await rollOut(sampler, scorer, prompts, state.drawn, config, stage.signal);
      const { samples, drawn, sampled, flat } = rollout;
      const experience = prepare(policy, reference, samples, state.moments, config);
      const learned = await learn(policy, optimizer, experience, state.step, config);
      const seconds = (performance.now() - began) / 1000;
      const metrics: Metrics = {
        ...learned,
        ...summariseCompletions(samples),
        ...meanParts(samples),
        frac_reward_zero_std: flat,
        episode: (state.metrics.episode ?? 0) + sampled,
        tokens_per_second: countTokens(samples) / seconds,
        epoch: drawn / prompts.length,
      };
      const rewards = experience.map(({ reward }) => reward);
      return {
        metrics,
        state: { drawn, moments: mergeMoments(state.moments, rewards) },
        samples: stage.journal.samples(
          state.step + 1,
          experience.slice(0, config.logSamples).map(withTokens),
        ),
        warnings: [
          ...noEos(metrics["completions/clipped_ratio"] as number),
          ...flatRewards(flat),
          ...mismatchWarnings(metrics, policy),
        ],
      };
    };
    yield* stage.steps({ saveEvery: config.saveEvery, step, evaluations: [watch] });
    return { model: yield* stage.finish(policy), metrics: stage.state.metrics };
  } finally {
    stage.dispose();
  }
}
