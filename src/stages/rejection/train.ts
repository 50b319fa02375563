import { InputError } from "../../data/errors.ts";
import type { Prompt } from "../../data/records.ts";
import type { Model } from "../../models/model.ts";
import { type RewardInput, rewardNames } from "../../rewards/open.ts";
import { modelSampler } from "../../rollout/generate.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import { openMonitor } from "../monitor.ts";
import { openSamplingInputs } from "../prompts.ts";
import { Stage, type StageOptions, splitOptions } from "../stage.ts";
import { type RejectionConfig, type RejectionSettings, rejectionConfig } from "./config.ts";
import { emptyRound, learnStep, planRounds, type RejectionState, sampleStep } from "./round.ts";

export interface RejectionOptions extends RejectionSettings, StageOptions {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins. It is not changed. */
  policy: Model | string;
  /** A reward model, or a name or path of one; a function, a module, a command, a server; or a weighted sum of such. */
  reward: RewardInput;
  /** Prompts, or a file of them. */
  prompts: string | readonly Prompt[];
}

export interface RejectionResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

/**
 * Rejection sampling (Touvron et al. 2023, §3.2.3; RAFT, Dong et al. 2023): each round samples several responses to each
 * prompt from the policy, keeps the best by the reward, and learns from them by the loss of SFT.
 * @throws InputError for bad data or settings and where no response reaches `bar`, DivergedError when the loss is not finite
 */
export const rejection = (options: RejectionOptions): Training<RejectionResult> => training(train(options));

async function* train({
  policy: from,
  reward,
  prompts: source,
  ...rest
}: RejectionOptions): AsyncGenerator<Event, RejectionResult> {
  const { options, settings } = splitOptions(rest);
  const config = parseConfig(rejectionConfig, settings, "rejection");
  checkSelection(config);
  const state: RejectionState = { step: 0, metrics: {}, ...emptyRound };
  const stage = await Stage.open("rejection", from, options, config, state);
  try {
    const { base } = stage;
    const { scorer, prompts, warnings: tooLong } = await openSamplingInputs(stage, reward, source, config);
    const plan = planRounds(prompts.length, config);
    const total = config.rounds * plan.steps;
    const monitorOf = await openMonitor(stage, scorer, prompts, { ...config, steps: total });
    stage.openRun({
      total,
      data: { prompts: source },
      config: { reward: rewardNames(reward) },
      parents: [from, reward],
    });
    const start = config.rounds > 1 ? base : undefined;
    const keepBase = start !== undefined || config.monitor !== undefined;
    const policy = stage.learner((share) => base.clone({ share }), { keepBase });
    const optimizer = stage.optimizer("policy", policy, { weightDecay: config.weightDecay });
    const sampler = modelSampler(policy, { rng: stage.rng() });
    yield* stage.start(tooLong);

    const context = { stage, policy, start, optimizer, sampler, scorer, prompts, plan, config };
    const step = () => {
      const round = Math.floor(stage.state.step / plan.steps);
      const position = stage.state.step % plan.steps;
      return position < plan.samplings
        ? sampleStep(context, round, position)
        : learnStep(context, round, position - plan.samplings);
    };
    yield* stage.steps({ saveEvery: config.saveEvery, step, evaluations: [monitorOf(policy)] });
    return { model: yield* stage.finish(policy), metrics: stage.state.metrics };
  } finally {
    stage.dispose();
  }
}

/** @throws InputError where `keep`, `bar` and `samplesPerPrompt` do not go together */
function checkSelection({ keep, bar, samplesPerPrompt }: RejectionConfig): void {
  if (keep === "above" && bar === undefined)
    throw new InputError(
      "rejection: keep=above learns from responses with a score of `bar` or more: set bar",
    );
  if (keep === "best" && bar !== undefined)
    throw new InputError("rejection: bar is used with keep=above: set that, or leave bar out");
  if (keep === "best" && samplesPerPrompt < 2)
    throw new InputError("rejection: keep=best chooses among responses: samplesPerPrompt must be 2 or more");
}
