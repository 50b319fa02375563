import { tokensIn } from "../../batch/pack.ts";
import { readDemonstrations } from "../../data/readers.ts";
import type { Demonstration, Prompt } from "../../data/records.ts";
import { drawAt } from "../../data/split.ts";
import type { Model } from "../../models/model.ts";
import { scheduleFactor } from "../../nn/schedule.ts";
import { openReward, type RewardInput, rewardNames } from "../../rewards/open.ts";
import { meanParts } from "../../rewards/scorer.ts";
import { type ScoredCompletion, sampleAndScore } from "../../rollout/sample-and-score.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import { promptsWithRoom, refuseWithoutSft } from "../prompts.ts";
import { Stage, type StageOptions, type StageState } from "../stage.ts";
import { type PpoSettings, ppoConfig } from "./config.ts";
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

type PpoRunState = StageState & Partial<PpoState>;

/**
 * PPO against a reward under a KL penalty (Ouyang et al. 2022, §3.5; Ziegler et al. 2019). A step samples responses,
 * scores them, and makes some passes of clipped updates of policy and critic.
 * @throws InputError for bad data or settings, or when the loss is not finite
 */
export const ppo = (options: PpoOptions): Training<PpoResult> => training(train(options));

async function* train({
  policy: from,
  reward,
  prompts: source,
  ptxData,
  dtype,
  run,
  resume,
  signal,
  ...settings
}: PpoOptions): AsyncGenerator<Event, PpoResult> {
  const config = parseConfig(ppoConfig, settings, "ppo");
  const {
    steps,
    batchSize,
    samplesPerPrompt,
    schedule,
    allowNoSft,
    saveEvery,
    logSamples,
    keepCheckpoints: _,
    quantise: __,
    ...stepConfig
  } = config;
  const options = { dtype, run, resume, signal };
  const stage = await Stage.open<PpoRunState>("ppo", from, options, config, { step: 0, metrics: {} });
  try {
    if (!allowNoSft) refuseWithoutSft(stage.base, "ppo");
    const scorer = stage.use(await openReward(reward, { dtype: stage.base.dtype }));
    const { prompts, tooLong } = await promptsWithRoom(stage.base, source, config.maxTokens, "ppo");
    const demonstrations =
      typeof ptxData === "string" ? (await readDemonstrations(ptxData)).records : ptxData;
    checkPtx(config.ptxCoef, demonstrations);
    stage.openRun({
      total: steps,
      data: { prompts: source, ptxData },
      config: { reward: rewardNames(reward) },
      parents: [from, reward],
    });
    // A reward model with the policy's vocabulary is the better start for the critic.
    const fits = scorer.model?.dimensions.vocab === stage.base.dimensions.vocab;
    const trainer = stage.use(
      new PpoTrainer(
        {
          ...stepConfig,
          policy: stage.base,
          criticFrom: fits ? scorer.model : undefined,
          ptxData: demonstrations,
          rng: stage.rng(),
        },
        stage.checkpoint,
      ),
    );
    stage.onSave((dir) => trainer.saveModels(dir, { optimizers: !stage.ended }));
    yield* stage.start(tooLong);
    const perStep = Math.max(1, Math.round(batchSize / samplesPerPrompt));

    const step = async () => {
      const began = performance.now();
      const { step: taken } = stage.state;
      const batch = drawAt(prompts, taken * perStep, perStep, config.seed);
      const samples = await sampleAndScore(trainer, scorer, batch, {
        maxTokens: config.maxTokens,
        samples: samplesPerPrompt,
        signal,
      });
      const rateFactor = scheduleFactor(schedule, taken, steps);
      const { metrics, warnings, perToken } = await trainer.step(samples, {
        rateFactor,
        perToken: logSamples,
      });
      const seconds = (performance.now() - began) / 1000;
      const logged = perToken.map((tokens, i) => ({ ...(samples[i] as ScoredCompletion), perToken: tokens }));
      return {
        metrics: {
          ...metrics,
          ...meanParts(samples),
          episode: (taken + 1) * samples.length,
          eps: samples.length / seconds,
          tokens_per_second: tokensIn(samples) / seconds,
          epoch: ((taken + 1) * perStep) / prompts.length,
        },
        state: trainer.state,
        samples: stage.journal.samples(taken + 1, logged),
        warnings,
      };
    };
    yield* stage.steps({ saveEvery, step });
    const model = yield* stage.finish(trainer.finish(), trainer);
    return { model, metrics: stage.state.metrics };
  } finally {
    stage.dispose();
  }
}
