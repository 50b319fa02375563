import { countTokens } from "../../batch/pack.ts";
import { readDemonstrations } from "../../data/readers.ts";
import type { Demonstration, Prompt } from "../../data/records.ts";
import { drawAt } from "../../data/split.ts";
import type { Model } from "../../models/model.ts";
import { scheduleFactor } from "../../nn/schedule.ts";
import { type RewardInput, rewardNames } from "../../rewards/open.ts";
import { meanParts, type Scorer } from "../../rewards/scorer.ts";
import { type ScoredCompletion, sampleAndScore } from "../../rollout/sample-and-score.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import { type MonitoredState, openMonitor } from "../monitor.ts";
import { openSamplingInputs } from "../prompts.ts";
import { Stage, type StageOptions, splitOptions } from "../stage.ts";
import { type PpoConfig, type PpoSettings, ppoConfig, ppoStepConfig } from "./config.ts";
import { checkPtx, type PpoState, PpoTrainer } from "./trainer.ts";

export interface PpoOptions extends PpoSettings, StageOptions {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. */
  policy: Model | string;
  /** A reward model, or a name or path of one; a function, a module, a command, a server; or a weighted sum of such. */
  reward: RewardInput;
  /** Prompts, or a JSONL file of them. */
  prompts: string | readonly Prompt[];
  /** Demonstrations that PPO-ptx mixes in, or a JSONL file of them; see `ptxCoef`. */
  ptxData?: string | readonly Demonstration[] | undefined;
}

export interface PpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

type PpoRunState = MonitoredState & Partial<PpoState>;

/**
 * PPO against a reward under a KL penalty (Ouyang et al. 2022, §3.5; Ziegler et al. 2019). A step samples responses,
 * scores them, and makes some passes of clipped updates of policy and critic.
 * @throws InputError for bad data or settings, DivergedError when the loss is not finite
 */
export const ppo = (options: PpoOptions): Training<PpoResult> => training(train(options));

async function* train({
  policy: from,
  reward,
  prompts: source,
  ptxData,
  ...rest
}: PpoOptions): AsyncGenerator<Event, PpoResult> {
  const { options, settings } = splitOptions(rest);
  const config = parseConfig(ppoConfig, settings, "ppo");
  const { steps, samplesPerPrompt } = config;
  const stage = await Stage.open<PpoRunState>("ppo", from, options, config, { step: 0, metrics: {} });
  try {
    const { scorer, prompts, warnings: tooLong } = await openSamplingInputs(stage, reward, source, config);
    const demonstrations =
      typeof ptxData === "string" ? (await readDemonstrations(ptxData)).records : ptxData;
    checkPtx(config.ptxCoef, demonstrations);
    const monitorOf = await openMonitor(stage, scorer, prompts, config);
    stage.openRun({
      total: steps,
      data: { prompts: source, ptxData },
      config: { reward: rewardNames(reward) },
      parents: [from, reward],
    });
    const trainer = openTrainer(stage, config, scorer, demonstrations);
    stage.state = { ...stage.state, ...trainer.state }; // an interrupt before the first step saves it too
    const watch = monitorOf(trainer.policy);
    yield* stage.start(tooLong);
    const perStep = Math.max(1, Math.round(config.batchSize / samplesPerPrompt));

    const step = async () => {
      const began = performance.now();
      const { step: taken } = stage.state;
      const batch = drawAt(prompts, taken * perStep, perStep, config.seed);
      const samples = await sampleAndScore(trainer, scorer, batch, {
        maxTokens: config.maxTokens,
        samples: samplesPerPrompt,
        signal: stage.signal,
      });
      const { metrics, warnings, perToken } = await trainer.step(samples, {
        rateFactor: scheduleFactor(config.schedule, taken, steps),
        perToken: config.logSamples,
      });
      const seconds = (performance.now() - began) / 1000;
      const logged = perToken.map((tokens, i) => ({ ...(samples[i] as ScoredCompletion), perToken: tokens }));
      return {
        metrics: {
          ...metrics,
          ...meanParts(samples),
          episode: (taken + 1) * samples.length,
          eps: samples.length / seconds,
          tokens_per_second: countTokens(samples) / seconds,
          epoch: ((taken + 1) * perStep) / prompts.length,
        },
        state: trainer.state,
        samples: stage.journal.samples(taken + 1, logged),
        warnings,
      };
    };
    yield* stage.steps({ saveEvery: config.saveEvery, step, evaluations: [watch] });
    const model = yield* stage.finish(trainer.finish(), [trainer]);
    return { model, metrics: stage.state.metrics };
  } finally {
    stage.dispose();
  }
}

/** The trainer, as a resource of the stage, which saves it with each checkpoint. */
function openTrainer(
  stage: Stage<PpoRunState>,
  config: PpoConfig,
  scorer: Scorer,
  ptxData: readonly Demonstration[] | undefined,
): PpoTrainer {
  const stepConfig = ppoStepConfig.parse(config); // without the settings of the run
  // A reward model with the policy's vocabulary is the better start for the critic.
  const fits = scorer.model?.dimensions.vocab === stage.base.dimensions.vocab;
  const criticFrom = fits ? scorer.model : undefined;
  const options = { ...stepConfig, policy: stage.base, criticFrom, ptxData, rng: stage.rng() };
  const trainer = stage.use(new PpoTrainer(options, stage.checkpoint));
  stage.onSave((dir) => trainer.saveModels(dir, { optimizers: !stage.ended }));
  return trainer;
}
