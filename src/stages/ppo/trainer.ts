import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { batchRows, countLearned, type Row } from "../../batch/pack.ts";
import { layOutResponses, learnedMask, responseLogprobs } from "../../batch/score.ts";
import { DivergedError, InputError } from "../../data/errors.ts";
import type { Demonstration } from "../../data/records.ts";
import { shuffled, shuffledByGroup } from "../../data/split.ts";
import { adaptKlCoef, emptyMoments, type RunningMoments, standardDeviation } from "../../math/index.ts";
import { Model } from "../../models/model.ts";
import { ValueHead } from "../../models/value-head.ts";
import { accumulate } from "../../nn/accumulate.ts";
import { AdamW } from "../../nn/adamw.ts";
import { modelSampler } from "../../rollout/generate.ts";
import type { Completion, SamplePrompt, Sampler } from "../../rollout/sampler.ts";
import { summariseCompletions } from "../../rollout/summary.ts";
import { parseConfig } from "../../run/config.ts";
import type { Metrics } from "../../run/events.ts";
import { readState } from "../../run/journal.ts";
import type { Health, Warning } from "../../run/warnings.ts";
import { isFiniteFloat32 } from "../../statistics/numbers.ts";
import { Rng, type Tensor, trim } from "../../tensor/index.ts";
import { encodeDemonstration } from "../../text/chat.ts";
import { loadOptimizer, openLearner, saveOptimizers, saveState } from "../checkpoint.ts";
import { isPrecise, mismatch, mismatchWarnings } from "../mismatch.ts";
import { samplingOptions } from "../settings.ts";
import { type PpoStepConfig, type PpoStepSettings, ppoStepConfig } from "./config.ts";
import { type Experience, gather, shapeScores } from "./experience.ts";
import { health, summariseUpdates, watch } from "./metrics.ts";
import { SampledStates } from "./sampled-states.ts";
import { type Optimizers, type Rates, type UpdateMetrics, update } from "./update.ts";

export interface PpoTrainerOptions extends PpoStepSettings {
  /** The SFT model: a copy of it is trained, and it is the frozen reference. Do not dispose it before the trainer. */
  policy: Model;
  /** Reference model of the KL penalty. Default: `policy`, frozen. */
  reference?: Model | undefined;
  /**
   * Model whose backbone a separate critic begins with, best the reward model. Default: `policy`. Do not dispose it before
   * the trainer.
   */
  criticFrom?: Model | undefined;
  /** Demonstrations that PPO-ptx mixes in. */
  ptxData?: readonly Demonstration[] | undefined;
  /** Random generator of the sampling. Default: one of the settings' seed. */
  rng?: Rng | undefined;
}

/** What a step learns from: a completion with its score. */
export type PpoSample = Row & { score: number } & Partial<
    Pick<Completion, "promptIndex" | "logprobs" | "finishReason">
  >;

export interface StepOptions {
  /** Multiplies the learning rates: the schedule's factor at this step. Default: 1. */
  rateFactor?: number;
  /** Returns what belongs to each token of the first so many samples. Default: 0. */
  perToken?: number;
}

export interface StepResult {
  /** By the names of docs/metrics.md. */
  metrics: Metrics;
  /** The guard rails that spoke. */
  warnings: Warning[];
  /** Lists of one number for each token, by name, of the first samples. */
  perToken: Record<string, number[]>[];
}

/** State of a trainer that a checkpoint holds, beside its models and optimisers. */
export interface PpoState {
  step: number;
  klCoef: number;
  moments: RunningMoments;
  generator: string;
  history: Health[];
}

/**
 * PPO in a loop of your own (Ouyang et al. 2022, §3.5):
 *
 * ```ts
 * const trainer = new PpoTrainer({ policy, criticFrom: rewardModel });
 * const completions = await trainer.sample(prompts, { samples: 4 });
 * const { metrics } = await trainer.step(completions.map((completion) => ({ ...completion, score: scoreOf(completion.text) })));
 * ```
 */
export class PpoTrainer implements Sampler {
  readonly config: PpoStepConfig;
  /** The model in training. */
  readonly policy: Model;
  readonly reference: Model;
  readonly critic: Model | ValueHead;
  /** β, the weight of the KL penalty now. */
  klCoef: number;
  /** Steps taken. */
  stepsTaken = 0;
  #optimizers: Optimizers | undefined;
  #moments = emptyMoments;
  readonly #rng: Rng;
  readonly #ownsRng: boolean;
  #history: Health[] = [];
  #ptxData: readonly Demonstration[];

  /** @param from a checkpoint that `save` wrote, to go on from */
  constructor(
    { policy, reference, criticFrom, ptxData = [], rng, ...settings }: PpoTrainerOptions,
    from?: string,
  ) {
    this.config = parseConfig(ppoStepConfig, settings, "ppo");
    checkPtx(this.config.ptxCoef, ptxData);
    this.reference = reference ?? policy;
    this.#ptxData = ptxData;
    this.#rng = rng ?? new Rng(this.config.seed);
    this.#ownsRng = !rng;
    this.klCoef = this.config.initKlCoef;
    const { critic, lora, seed } = this.config;
    const { dtype } = policy;
    const valued = (share: boolean) => (criticFrom ?? policy).withScoreHead({ std: 0, bias: true, share });
    this.policy = openLearner({ fresh: (share) => policy.clone({ share }), from, dtype, lora, seed });
    const criticAt = from && join(from, "critic");
    if (critic === "shared") {
      this.critic = new ValueHead(policy.dimensions.hidden, policy.device);
      if (criticAt) this.critic.restore(criticAt);
    } else this.critic = openLearner({ fresh: valued, from: criticAt, dtype, lora, seed });
    for (const model of [this.policy, this.critic])
      if (model instanceof Model) model.gradientCheckpointing = this.config.gradientCheckpointing;
    if (from !== undefined) {
      const state = readState<PpoState>(from);
      this.stepsTaken = state.step;
      this.klCoef = state.klCoef;
      this.#moments = state.moments;
      this.#history = state.history;
      this.#rng.state = Buffer.from(state.generator, "base64");
    }
    this.policy.stage = "ppo";
    this.#loadOptimizersFrom = from;
  }
  #loadOptimizersFrom: string | undefined;
  #states: SampledStates | undefined;

  /** The optimisers, made at the first step: sampling alone, or a run that has ended, does not need their memory. */
  #optimize(): Optimizers {
    if (!this.#optimizers) {
      trim(); // returns memory that sampling freed, before the optimisers take as much
      const make = (model: Model | ValueHead) => new AdamW(model.train().learned, { eps: 1e-5 });
      this.#optimizers = { policy: make(this.policy), critic: make(this.critic) };
      if (this.#loadOptimizersFrom !== undefined) {
        loadOptimizer(this.#loadOptimizersFrom, "policy", this.#optimizers.policy);
        loadOptimizer(this.#loadOptimizersFrom, "critic", this.#optimizers.critic);
      }
    }
    return this.#optimizers;
  }

  /** Samples completions from the policy, `samples` of each prompt. */
  async sample(
    prompts: readonly SamplePrompt[],
    { samples, signal }: { samples?: number | undefined; signal?: AbortSignal | undefined } = {},
  ): Promise<Completion[]> {
    const states = this.#newStates();
    const sampler = modelSampler(this.policy, {
      rng: this.#rng,
      onStates: states && ((hidden, rows) => states.record(hidden, rows)),
    });
    const options = { ...samplingOptions(this.config), samples, signal };
    const completions = await sampler.sample(prompts, options);
    states?.finish(completions);
    return completions;
  }

  /** Makes a new store for a rollout's states and frees the last one. */
  #newStates(): SampledStates | undefined {
    this.#states?.dispose();
    this.#states = this.policy.isBatchInvariant ? new SampledStates() : undefined;
    return this.#states;
  }

  /**
   * One PPO step on completions and their scores, a model's or any function's. A completion without a `finishReason` is
   * finished when it ends with a stop token.
   * @throws InputError when a score is not a finite number, DivergedError when the loss is not
   */
  async step(
    samples: readonly PpoSample[],
    { rateFactor = 1, perToken = 0 }: StepOptions = {},
  ): Promise<StepResult> {
    const { config } = this;
    checkSamples(samples);
    const finished = samples.map((sample) => this.#hasStopped(sample));
    const scores = samples.map(({ score }) => score);
    const groups = samples.map(({ promptIndex, promptTokens }) => promptIndex ?? promptTokens.join());
    const { shaped, moments } = shapeScores(scores, finished, groups, this.#moments, config);
    const optimizers = this.#optimize();
    const { experience, metrics: gathered } = gather(
      this,
      samples,
      shaped,
      this.klCoef,
      config,
      this.#states,
    );
    this.#states?.dispose(); // the policy changes
    const warmingUp = this.stepsTaken < config.criticWarmup;
    const rates = {
      policy: warmingUp ? 0 : rateFactor * config.learningRate,
      critic: rateFactor * (config.criticLearningRate ?? config.learningRate),
    };
    const compared = compare(experience, samples, config);
    const tokens = tokensOf(experience, samples.slice(0, perToken));
    const updates = await this.#passes(groups, experience, optimizers, rates);
    this.#moments = moments;
    this.stepsTaken++;

    const metrics: Metrics = {
      ...gathered,
      ...summariseUpdates(updates),
      ...summariseCompletions(
        samples.map((sample, i) => ({ ...sample, finishReason: finished[i] ? "stop" : "length" })),
      ),
      ...compared,
      "normalisation/mean": moments.mean,
      "normalisation/std": standardDeviation(moments),
      lr: rates.policy,
    };
    if (config.adaptiveKl)
      this.klCoef = adaptKlCoef(
        this.klCoef,
        gathered["objective/kl"] as number,
        config.targetKl,
        samples.length,
        config.klHorizon,
      );
    return { metrics, warnings: this.#watch(metrics), perToken: tokens };
  }

  #hasStopped({ finishReason, tokens }: PpoSample): boolean {
    if (finishReason !== undefined) return finishReason === "stop";
    return (this.policy.tokenizer?.stopIds ?? []).includes(tokens.at(-1) as number);
  }

  /** `ppoEpochs` passes over the experience in mini-batches; frees it. */
  async #passes(
    groups: readonly (number | string)[],
    experience: Experience,
    optimizers: Optimizers,
    rates: Rates,
  ): Promise<UpdateMetrics[]> {
    const { config } = this;
    const done: UpdateMetrics[] = [];
    try {
      for (let epoch = 0; epoch < config.ppoEpochs; epoch++) {
        const order = shuffledByGroup(groups, config.seed + this.stepsTaken * config.ppoEpochs + epoch);
        for (let start = 0; start < order.length; start += config.miniBatchSize) {
          const chosen = order.slice(start, start + config.miniBatchSize);
          const measured = update(this, optimizers, experience, chosen, rates, config, () =>
            this.#addPtx(done.length),
          );
          const { policyLoss, valueLoss, policyGradNorm, criticGradNorm } = measured;
          if (!Number.isFinite(policyLoss + valueLoss + policyGradNorm + criticGradNorm))
            throw new DivergedError(
              `ppo: the loss is not finite at step ${this.stepsTaken + 1}: lower learningRate; checkpoints are kept`,
            );
          done.push(measured);
          if (config.stopKl !== undefined && measured.approxKl > config.stopKl) return done;
          await setImmediate(); // lets a signal in
        }
      }
      return done;
    } finally {
      const { rows: _, ...tensors } = experience;
      for (const tensor of Object.values(tensors)) tensor.dispose();
    }
  }

  #watch(metrics: Metrics): Warning[] {
    this.#history = [...this.#history.slice(-19), health(metrics)];
    const { klCoef, policy, config } = this;
    const normalised = config.normaliseScores !== "none";
    return [
      ...watch(metrics, this.#history, { klCoef, normalised, isPrecise: isPrecise(policy) }),
      ...mismatchWarnings(metrics, policy),
    ];
  }

  /** Adds the gradient of γ · cross-entropy on random demonstrations to the policy's (Ouyang et al. 2022, eq. 2). */
  #addPtx(updates: number): void {
    const { ptxCoef, miniBatchSize, microBatchTokens, seed } = this.config;
    if (!ptxCoef) return;
    const data = this.#ptxData;
    const order = shuffled(data.length, seed + this.stepsTaken * 1000 + updates);
    const rows = order
      .slice(0, miniBatchSize)
      .flatMap((i) => encodeDemonstration(this.policy.text, data[i] as Demonstration));
    const count = countLearned(rows);
    const lossOf = (part: Row[]) => {
      const logprobs = responseLogprobs(this.policy, layOutResponses(part));
      const mask = learnedMask(part);
      return { loss: (mask ? logprobs.mul(mask) : logprobs).sum().mul(-ptxCoef / count), metrics: {} };
    };
    accumulate(batchRows(rows, microBatchTokens), lossOf, this.policy);
  }

  /** State that `save` writes beside models and optimisers. */
  get state(): PpoState {
    return {
      step: this.stepsTaken,
      klCoef: this.klCoef,
      moments: this.#moments,
      generator: Buffer.from(this.#rng.state).toString("base64"),
      history: this.#history,
    };
  }

  /** Writes policy, critic and, unless `optimizers` is false, the optimisers. */
  saveModels(dir: string, { optimizers = true } = {}): void {
    this.policy.save(dir);
    this.critic.save(join(dir, "critic"));
    if (optimizers) saveOptimizers(dir, { ...this.#optimize() });
  }

  /** Writes all that is needed to go on. */
  save(dir: string): void {
    this.saveModels(dir);
    saveState(dir, this.state);
  }

  /** Frees the critic and the optimisers; the policy stays, as `policy`. */
  finish(): Model {
    this.#disposeParts();
    return this.policy.finishTraining();
  }

  /** Frees all that the trainer made, the policy in training too. */
  dispose(): void {
    this.#disposeParts();
    this.policy.dispose();
  }

  #disposeParts(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#states?.dispose();
    this.#optimizers?.policy.dispose();
    this.#optimizers?.critic.dispose();
    this.critic.dispose();
    if (this.#ownsRng) this.#rng.dispose();
  }
  #isFinished = false;
}

/** @throws InputError where PPO-ptx has no demonstrations to mix in */
export function checkPtx(ptxCoef: number, ptxData: readonly Demonstration[] = []): void {
  if (ptxCoef && !ptxData.length)
    throw new InputError("ppo: ptxCoef needs demonstrations to mix in: give ptxData");
}

function checkSamples(samples: readonly PpoSample[]): void {
  if (!samples.length) throw new InputError("ppo: a step needs one sample at least");
  const empty = samples.findIndex(({ tokens }) => !tokens.length);
  if (empty >= 0) throw new InputError(`ppo: sample ${empty} has no tokens`);
  // GAE would take a masked token for the end of the response.
  const masked = samples.findIndex(({ mask }) => mask?.includes(0));
  if (masked >= 0) throw new InputError(`ppo: sample ${masked} has masked tokens: grpo can leave them out`);
  const wrong = samples.findIndex(({ score }) => !isFiniteFloat32(score));
  if (wrong >= 0)
    throw new InputError(
      `ppo: the score of sample ${wrong} is ${samples[wrong]?.score}; scores must be finite numbers of at most 3.4e38, as losses are computed in float32`,
    );
}

/** The values (batch, time) of each sample's tokens. */
function unpad(padded: Tensor, samples: readonly PpoSample[]): number[][] {
  const time = padded.size(1);
  const flat = padded.toArray();
  return samples.map(({ tokens: { length } }, i) => flat.slice(i * time, i * time + length));
}

/** Compares the trainer's log-probs with the sampler's, where all samples have them. */
function compare({ oldLogprobs }: Experience, samples: readonly PpoSample[], config: PpoStepConfig): Metrics {
  const sampled = samples.flatMap(({ logprobs, tokens, mask }) =>
    logprobs ? [{ logprobs, mask: mask ?? tokens.map(() => 1) }] : [],
  );
  return sampled.length === samples.length
    ? mismatch(unpad(oldLogprobs, samples).flat(), sampled, config)
    : {};
}

/** Per-token values for the log. */
function tokensOf(
  { refLogprobs, values, advantages }: Experience,
  samples: readonly PpoSample[],
): Record<string, number[]>[] {
  if (!samples.length) return [];
  const columns = Object.entries({ refLogprobs, values, advantages }).map(
    ([name, padded]) => [name, unpad(padded, samples)] as const,
  );
  return samples.map((_, i) =>
    Object.fromEntries(columns.map(([name, rows]) => [name, rows[i] as number[]])),
  );
}
