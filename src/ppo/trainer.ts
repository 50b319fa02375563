import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { InputError } from "../data/errors.ts";
import type { Demonstration, Message } from "../data/records.ts";
import { shuffled, shuffledByGroup } from "../data/split.ts";
import { adaptKlCoef, deviation, noMoments, type RunningMoments } from "../math/index.ts";
import { loadOptimizer, openLearner, saveTraining } from "../models/checkpoint.ts";
import { Model } from "../models/model.ts";
import { batchRows, type Row } from "../models/pack.ts";
import { ValueHead } from "../models/value-head.ts";
import { accumulate } from "../nn/accumulate.ts";
import { AdamW } from "../nn/adamw.ts";
import { generate } from "../rollout/generate.ts";
import { layOut, responseLogprobs } from "../rollout/score.ts";
import { summariseResponses } from "../rollout/summary.ts";
import { parseConfig } from "../run/config.ts";
import type { Metrics } from "../run/events.ts";
import { readState } from "../run/journal.ts";
import type { Health, Warning } from "../run/warnings.ts";
import { Generator, trim } from "../tensor/index.ts";
import { encodeExample, encodePrompt } from "../text/chat.ts";
import { type PpoStepConfig, type PpoStepSettings, ppoStepConfig } from "./config.ts";
import { type Experience, gather, shapeScores } from "./experience.ts";
import { compareLogprobs, health, summariseUpdates, watch } from "./metrics.ts";
import { SampledStates } from "./sampled.ts";
import { type Optimizers, type Rates, type UpdateMetrics, update } from "./update.ts";

export interface PpoTrainerOptions extends PpoStepSettings {
  /** The SFT model. It is not changed: a copy is trained, and it stays the reference. Keep it while the trainer lives. */
  policy: Model;
  /** Held near this in place of `policy`. */
  reference?: Model | undefined;
  /**
   * A separate critic begins with this model's backbone, best the reward model's; by default the policy's. Keep it as
   * well.
   */
  criticFrom?: Model | undefined;
  /** Demonstrations that PPO-ptx mixes in. */
  ptxData?: readonly Demonstration[] | undefined;
}

/** Responses to a batch of prompts, one a row. */
export interface Rollout {
  /** Token ids of each row's prompt and response. */
  queries: number[][];
  responses: number[][];
  texts: string[];
  /** Whether each reached a stop token or text. */
  finished: boolean[];
  /** Of each response token, when it was sampled. */
  logprobs: number[][];
  /** Which of the prompts given each row answers. */
  prompts: number[];
}

export interface StepOptions {
  /** Rollout's own; without it a response is finished when it ends with a stop token. */
  finished?: readonly boolean[];
  logprobs?: readonly (readonly number[])[];
  /** Multiplies the learning rates: where a schedule stands. */
  rateFactor?: number;
  signal?: AbortSignal | undefined;
}

interface State {
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
 * const trainer = new PpoTrainer({ policy, criticFrom: judge });
 * const { queries, responses, texts } = await trainer.generate(prompts);
 * const { metrics } = await trainer.step(queries, responses, texts.map(scoreOf));
 * ```
 */
export class PpoTrainer {
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
  #moments = noMoments;
  #generator: Generator;
  #history: Health[] = [];
  #ptxData: readonly Demonstration[];

  /** @param from a checkpoint that `save` wrote, to go on from */
  constructor(
    { policy, reference, criticFrom, ptxData = [], ...settings }: PpoTrainerOptions,
    from?: string,
  ) {
    this.config = parseConfig(ppoStepConfig, settings, "ppo");
    if (this.config.ptxCoef && !ptxData.length)
      throw new InputError("ppo: ptxCoef needs demonstrations to mix in: give ptxData");
    this.reference = reference ?? policy;
    this.#ptxData = ptxData;
    this.#generator = new Generator(this.config.seed);
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
      if (model instanceof Model) model.checkpointing = this.config.gradientCheckpointing;
    if (from !== undefined) {
      const state = readState<State>(from);
      this.stepsTaken = state.step;
      this.klCoef = state.klCoef;
      this.#moments = state.moments;
      this.#history = state.history;
      this.#generator.state = Buffer.from(state.generator, "base64");
    }
    this.policy.stage = "ppo";
    this.#loadOptimizersFrom = from;
  }
  #loadOptimizersFrom: string | undefined;
  #sampled: SampledStates | undefined;

  /** Made at the first step: generation alone, or a run that has ended, needs none of their memory. */
  #optimize(): Optimizers {
    if (!this.#optimizers) {
      trim(); // what sampling freed would else stand beside their state
      const make = (model: Model | ValueHead) => new AdamW(model.train().learned, { eps: 1e-5 });
      this.#optimizers = { policy: make(this.policy), critic: make(this.critic) };
      if (this.#loadOptimizersFrom !== undefined) {
        loadOptimizer(this.#loadOptimizersFrom, "policy", this.#optimizers.policy);
        loadOptimizer(this.#loadOptimizersFrom, "critic", this.#optimizers.critic);
      }
    }
    return this.#optimizers;
  }

  /** Samples responses from the policy: `samples` to each prompt, a text, a conversation or token ids. */
  async generate(
    prompts: readonly (string | readonly Message[] | readonly number[])[],
    options: { samples?: number; signal?: AbortSignal | undefined } = {},
  ): Promise<Rollout> {
    const { temperature, topK, topP, maxTokens, minTokens, stop, rolloutBatchSize } = this.config;
    const encoded = prompts.map((prompt) => this.#encode(prompt));
    const sampled = this.#sample();
    const rows = await generate(this.policy, encoded, {
      temperature,
      topK,
      topP,
      maxTokens,
      minTokens,
      stop,
      ...options,
      batchSize: rolloutBatchSize,
      generator: this.#generator,
      onStates: sampled && ((hidden, grown) => sampled.record(hidden, grown)),
    });
    const queries = rows.map((row) => encoded[row.prompt] as number[]);
    const responses = rows.map((row) => row.tokens);
    sampled?.answered(rows.map(({ tokens }, i) => ({ prompt: queries[i] as number[], response: tokens })));
    return {
      queries,
      responses,
      texts: rows.map((row) => row.text),
      finished: rows.map((row) => row.finished),
      logprobs: rows.map((row) => row.logprobs),
      prompts: rows.map((row) => row.prompt),
    };
  }

  /** Room for the states of a rollout, in place of the last one's. */
  #sample(): SampledStates | undefined {
    this.#sampled?.dispose();
    this.#sampled = this.policy.exact ? new SampledStates() : undefined;
    return this.#sampled;
  }

  #encode(prompt: string | readonly Message[] | readonly number[]): number[] {
    if (typeof prompt === "string")
      return encodePrompt(this.policy.text, [{ role: "user", content: prompt }]);
    return typeof prompt[0] === "object"
      ? encodePrompt(this.policy.text, prompt as Message[])
      : [...(prompt as number[])];
  }

  /**
   * One PPO step on responses and their scores, a model's or any function's.
   * @param queries prompts' token ids @param responses token ids, as `generate` gives them @param scores one a response
   * @returns metrics by the names of docs/metrics.md, and the guard rails that spoke
   * @throws InputError when a score is not a finite number or the loss becomes none
   */
  async step(
    queries: readonly (readonly number[])[],
    responses: readonly (readonly number[])[],
    scores: readonly number[],
    options: StepOptions = {},
  ): Promise<{ metrics: Metrics; warnings: Warning[] }> {
    const { config } = this;
    checkStep(queries, responses, scores);
    const stopIds = this.policy.tokenizer?.stopIds ?? [];
    const finished = options.finished ?? responses.map((ids) => stopIds.includes(ids.at(-1) as number));
    const groups = queries.map((query) => query.join());
    const { shaped, moments } = shapeScores(scores, finished, groups, this.#moments, config);
    const optimizers = this.#optimize();
    const rows = queries.map((prompt, i) => ({ prompt, response: responses[i] as readonly number[] }));
    const { experience, metrics: gathered } = gather(this, rows, shaped, this.klCoef, config, this.#sampled);
    this.#sampled?.dispose(); // the policy changes
    const rateFactor = options.rateFactor ?? 1;
    const warmingUp = this.stepsTaken < config.criticWarmup;
    const rates = {
      policy: warmingUp ? 0 : rateFactor * config.learningRate,
      critic: rateFactor * (config.criticLearningRate ?? config.learningRate),
    };
    const oldLogprobs = experience.oldLogprobs.toArray();
    const updates = await this.#passes(groups, experience, optimizers, rates);
    this.#moments = moments;
    this.stepsTaken++;

    const metrics: Metrics = {
      ...gathered,
      ...summariseUpdates(updates),
      ...summariseResponses(responses, scores, finished),
      ...(options.logprobs ? compareLogprobs(oldLogprobs, options.logprobs) : {}),
      "normalisation/mean": moments.mean,
      "normalisation/std": deviation(moments),
      lr: rates.policy,
    };
    if (config.adaptiveKl)
      this.klCoef = adaptKlCoef(
        this.klCoef,
        gathered["objective/kl"] as number,
        config.targetKl,
        responses.length,
        config.klHorizon,
      );
    return { metrics, warnings: this.#watch(metrics) };
  }

  /** `ppoEpochs` passes over the experience in mini-batches; frees it. */
  async #passes(
    groups: readonly string[],
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
            throw new InputError(
              `ppo: the loss is not finite at step ${this.stepsTaken + 1}: lower learningRate; checkpoints are kept`,
            );
          done.push(measured);
          if (config.stopKl !== undefined && measured.approxKl > config.stopKl) return done;
          await setImmediate(); // lets a signal in
        }
      }
      return done;
    } finally {
      const { oldLogprobs, values, advantages, returns, responseMask } = experience;
      for (const own of [oldLogprobs, values, advantages, returns, responseMask]) own.dispose();
    }
  }

  #watch(metrics: Metrics): Warning[] {
    this.#history = [...this.#history.slice(-19), health(metrics)];
    const { temperature, topK, topP, normaliseScores } = this.config;
    return watch(metrics, this.#history, {
      klCoef: this.klCoef,
      normalised: normaliseScores !== "none",
      exact: this.policy.exact || this.policy.dtype === "float32",
      sampledWhole: temperature > 0 && !topK && !topP,
    });
  }

  /** Adds the gradient of γ·(cross-entropy of some demonstrations) to the policy's (Ouyang et al. 2022, eq. 2). */
  #addPtx(updates: number): void {
    const { ptxCoef, miniBatchSize, microBatchTokens, seed } = this.config;
    if (!ptxCoef) return;
    const data = this.#ptxData;
    const order = shuffled(data.length, seed + this.stepsTaken * 1000 + updates);
    const rows = order.slice(0, miniBatchSize).map((i) => {
      const { prompt, completion } = data[i] as Demonstration;
      return encodeExample(this.policy.text, prompt, completion);
    });
    const count = rows.reduce((sum, { response }) => sum + response.length, 0);
    const lossOf = (part: Row[]) => ({
      loss: responseLogprobs(this.policy, layOut(part))
        .sum()
        .mul(-ptxCoef / count),
      metrics: {},
    });
    accumulate(batchRows(rows, microBatchTokens), lossOf, this.policy);
  }

  /** Writes all that is needed to go on: the policy as a model of its own, the critic, optimisers and state. */
  save(dir: string, options: { optimizers?: boolean } = {}): void {
    this.policy.save(dir);
    this.critic.save(join(dir, "critic"));
    const state: State = {
      step: this.stepsTaken,
      klCoef: this.klCoef,
      moments: this.#moments,
      generator: Buffer.from(this.#generator.state).toString("base64"),
      history: this.#history,
    };
    saveTraining(dir, (options.optimizers ?? true) ? { ...this.#optimize() } : {}, state);
  }

  /** Frees the critic and the optimisers; the policy stays, as `policy`, with adapters taken into its weights. */
  finish(): Model {
    this.#sampled?.dispose();
    this.#optimizers?.policy.dispose();
    this.#optimizers?.critic.dispose();
    this.critic.dispose();
    return this.policy.finish();
  }
}

function checkStep(
  queries: readonly unknown[],
  responses: readonly (readonly number[])[],
  scores: readonly number[],
): void {
  if (!responses.length || queries.length !== responses.length || scores.length !== responses.length)
    throw new InputError(
      `ppo: ${queries.length} queries, ${responses.length} responses and ${scores.length} scores: there must be as many of each, and one at least`,
    );
  const empty = responses.findIndex((ids) => !ids.length);
  if (empty >= 0) throw new InputError(`ppo: response ${empty} has no tokens`);
  const wrong = scores.findIndex((score) => !Number.isFinite(score));
  if (wrong >= 0)
    throw new InputError(
      `ppo: the score of response ${wrong} is ${scores[wrong]}; scores must be finite numbers`,
    );
}
