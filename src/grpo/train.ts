import { setImmediate } from "node:timers/promises";
import { InputError } from "../data/errors.ts";
import type { Prompt } from "../data/records.ts";
import { drawAt, shuffledByGroup } from "../data/split.ts";
import { mean, mergeMoments, noMoments, type RunningMoments } from "../math/index.ts";
import { loadOptimizer, openLearner, quantisedBase, saveTraining } from "../models/checkpoint.ts";
import type { Model } from "../models/model.ts";
import { batchRows, type Row, tokensIn } from "../models/pack.ts";
import { loadModel } from "../models/pull.ts";
import { accumulate } from "../nn/accumulate.ts";
import { AdamW } from "../nn/adamw.ts";
import { scheduleFactor } from "../nn/schedule.ts";
import { named, openReward, type RewardInput } from "../rewards/open.ts";
import { meansOf, type Reward, type Sample } from "../rewards/reward.ts";
import { join, type Scored, sampleScored, take } from "../rewards/sample.ts";
import { promptsWithRoom, refuseWithoutSft } from "../rollout/prompts.ts";
import { layOut, responseLogprobs, spread, tokenLogprobs } from "../rollout/score.ts";
import { summariseResponses } from "../rollout/summary.ts";
import { parseConfig } from "../run/config.ts";
import type { Event, Metrics } from "../run/events.ts";
import { inWords, Journal, readState } from "../run/journal.ts";
import { type Training, training } from "../run/training.ts";
import { noEos } from "../run/warnings.ts";
import { type DType, Generator, tensor, trim } from "../tensor/index.ts";
import { advantagesOf, haveSpread } from "./advantages.ts";
import { type GrpoConfig, type GrpoSettings, grpoConfig, withAlgorithm } from "./config.ts";
import { policyGradientLoss, tokenWeights } from "./loss.ts";

export interface GrpoOptions extends GrpoSettings {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. It is not changed. */
  policy: Model | string;
  /** A reward model, or a name or path of one; a function, a module, a command, a server; or a weighted sum of such. */
  reward: RewardInput;
  /** Prompts, or a file of them. */
  prompts: string | readonly Prompt[];
  dtype?: DType;
  run?: string | undefined;
  resume?: boolean;
  signal?: AbortSignal;
}

export interface GrpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

interface State {
  step: number;
  /** Prompts drawn. */
  drawn: number;
  moments: RunningMoments;
  generator: string;
  metrics: Metrics;
}

/**
 * Policy gradients without a critic: GRPO, Dr. GRPO, DAPO, GSPO, RLOO and REINFORCE, by `algorithm`. A step samples
 * several responses to each prompt, scores them, and learns from how each differs from its baseline.
 * @throws InputError for bad data or settings, or when the loss is not finite
 */
export const grpo = (options: GrpoOptions): Training<GrpoResult> => training(train(options));

async function* train({
  policy: from,
  reward,
  prompts: source,
  dtype,
  run,
  resume,
  signal,
  ...settings
}: GrpoOptions): AsyncGenerator<Event, GrpoResult> {
  const config = withAlgorithm(parseConfig(grpoConfig, settings, "grpo"));
  const { steps, saveEvery, keepCheckpoints: keep, lora, seed } = config;
  if (config.baseline !== "running" && config.samplesPerPrompt < 2)
    throw new InputError(
      `grpo: ${config.algorithm} compares responses to the same prompt: samplesPerPrompt must be 2 or more`,
    );
  const loaded = await loadModel(from, dtype ? { dtype } : {});
  const base = quantisedBase(loaded, from, config.quantise, lora);
  if (!config.allowNoSft) refuseWithoutSft(base, "grpo");
  const judge = await openReward(reward, { dtype: base.dtype });
  const { prompts, tooLong } = await promptsWithRoom(base, source, config.maxTokens, "grpo");
  const journal = new Journal({
    run,
    resume,
    stage: "grpo",
    config: { ...config, prompts: inWords(source), reward: named(reward) },
    parents: [from, reward].filter((one) => typeof one === "string"),
  });
  try {
    const fresh = (share: boolean) => base.clone({ share });
    const policy = openLearner({ fresh, from: journal.from?.dir, dtype: base.dtype, lora, seed });
    policy.stage = "grpo";
    policy.checkpointing = config.gradientCheckpointing;
    const reference = config.klCoef ? base : undefined;
    if (!reference && !lora && base !== from) base.dispose();
    const optimizer = new AdamW(policy.train().learned);
    const generator = new Generator(seed);
    let state: State = { step: 0, drawn: 0, moments: noMoments, generator: "", metrics: {} };
    if (journal.from) {
      state = readState<State>(journal.from.dir);
      generator.state = Buffer.from(state.generator, "base64");
      if (state.step < steps) loadOptimizer(journal.from.dir, "policy", optimizer);
      yield journal.log({ type: "resumed", step: state.step });
    }
    const write = (dir: string) => {
      policy.save(dir);
      state.generator = Buffer.from(generator.state).toString("base64");
      saveTraining(dir, state.step < steps ? { policy: optimizer } : {}, state);
    };
    yield journal.log({ type: "start", stage: "grpo", total: steps });
    yield* journal.warn(tooLong);
    const warned = new Set<string>();

    while (state.step < steps) {
      if (signal?.aborted) yield* journal.interrupt(state.step, write, { keep });
      const began = performance.now();
      const { batch, drawn, sampled, flat } = await rollOut(policy, judge, prompts, state.drawn, config, {
        generator,
        signal,
      });
      const learned = await learn(policy, reference, optimizer, batch, state, config);
      const seconds = (performance.now() - began) / 1000;
      const step = state.step + 1;
      const { rows, samples, scores } = batch;
      const finished = samples.map((one) => one.finished);
      const responses = rows.map(({ response }) => response);
      const tokens = tokensIn(rows);
      const metrics: Metrics = {
        ...learned,
        ...summariseResponses(responses, scores.total, finished),
        ...meansOf(scores.parts),
        frac_reward_zero_std: flat,
        episode: (state.metrics.episode ?? 0) + sampled,
        tokens_per_second: tokens / seconds,
        epoch: drawn / prompts.length,
      };
      state = { ...state, step, drawn, moments: mergeMoments(state.moments, scores.total), metrics };
      yield* journal.samples(step, samples.slice(0, config.logSamples), scores.total);
      yield journal.step(step, steps, metrics);
      const warnings = noEos(metrics["completions/clipped_ratio"] as number);
      yield* journal.warn(warnings.filter(({ code }) => !warned.has(code) && warned.add(code)));
      if (step % saveEvery === 0 || step === steps) yield* journal.save(step, write, { keep });
      await setImmediate(); // lets a signal in
    }
    optimizer.dispose();
    judge.dispose();
    policy.finish();
    if (base !== from && (reference || lora)) base.dispose();
    trim();
    yield journal.log({ type: "done", step: steps, metrics: state.metrics });
    return { model: policy, metrics: state.metrics };
  } finally {
    journal.close();
  }
}

/** Prompts that a step may draw in place of those that teach nothing, in batches. */
const resamples = 3;

/**
 * Samples responses and scores them; the prompts of the batch are numbered over the run.
 * @param from prompts drawn before
 * @returns the batch, prompts drawn by now, responses sampled, and the share of prompts whose responses all scored the same
 */
async function rollOut(
  policy: Model,
  judge: Reward,
  prompts: readonly Prompt[],
  from: number,
  config: GrpoConfig,
  given: { generator: Generator; signal: AbortSignal | undefined },
): Promise<{ batch: Scored; drawn: number; sampled: number; flat: number }> {
  const { samplesPerPrompt: samples, batchSize, dynamicSampling, rolloutBatchSize } = config;
  const { temperature, topK, topP, maxTokens, minTokens, stop } = config;
  const wanted = Math.max(1, Math.round(batchSize / samples));
  const options = {
    temperature,
    topK,
    topP,
    maxTokens,
    minTokens,
    stop,
    samples,
    batchSize: rolloutBatchSize,
  };
  let batch: Scored = { rows: [], prompts: [], samples: [], scores: { total: [], parts: {} } };
  let [drawn, flat] = [from, 0];
  for (let round = 0; round <= resamples && batch.rows.length < wanted * samples; round++) {
    const asked = drawAt(prompts, drawn, wanted - batch.rows.length / samples, config.seed);
    const found = await sampleScored(policy, judge, asked, { ...options, ...given });
    const telling = haveSpread(found.scores.total, found.prompts);
    // In the last round what is there has to do.
    const keepsAll = !dynamicSampling || round === resamples;
    const places = found.prompts.flatMap((prompt, i) => (keepsAll || telling.has(prompt) ? [i] : []));
    const kept = take(found, places);
    batch = join(batch, { ...kept, prompts: kept.prompts.map((prompt) => drawn + prompt) });
    flat += asked.length - telling.size;
    drawn += asked.length;
  }
  return { batch, drawn, sampled: (drawn - from) * samples, flat: flat / (drawn - from) };
}

/** A batch as it is learned from. */
interface Experience {
  rows: readonly Row[];
  /** One for each row. */
  advantages: number[];
  /** Of each row's tokens; none where the policy is the old one at every update. */
  old: number[][] | undefined;
  reference: number[][] | undefined;
  /** Tokens of each row that are learned from. */
  counted: number[];
}

/** Some passes of updates over a batch of responses. */
async function learn(
  policy: Model,
  reference: Model | undefined,
  optimizer: AdamW,
  batch: Scored,
  { step, moments }: State,
  config: GrpoConfig,
): Promise<Metrics> {
  const { epochs, miniBatchSize = batch.rows.length, seed, schedule, steps } = config;
  const once = epochs === 1 && miniBatchSize >= batch.rows.length;
  const experience = prepare(policy, reference, batch, moments, once, config);
  const lr = config.learningRate * scheduleFactor(schedule, step, steps);
  const measured: Metrics[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = shuffledByGroup(batch.prompts, seed + step * epochs + epoch);
    for (let start = 0; start < order.length; start += miniBatchSize) {
      const found = update(
        policy,
        optimizer,
        experience,
        order.slice(start, start + miniBatchSize),
        lr,
        config,
      );
      if (!Number.isFinite(found["loss/policy_avg"]) || !Number.isFinite(found.grad_norm))
        throw new InputError(
          `grpo: the loss is not finite at step ${step + 1}: lower learningRate; checkpoints are kept`,
        );
      measured.push(found);
      await setImmediate(); // lets a signal in
    }
  }
  const names = Object.keys(measured[0] as Metrics);
  return {
    ...Object.fromEntries(names.map((name) => [name, mean(measured.map((one) => one[name] as number))])),
    "advantages/abs": mean(experience.advantages.map(Math.abs)),
    lr,
    updates: measured.length,
  };
}

/** Log-probabilities and advantages of a batch before any update. @param once whether there is one update only */
function prepare(
  policy: Model,
  anchor: Model | undefined,
  { rows, prompts, samples, scores }: Scored,
  moments: RunningMoments,
  once: boolean,
  config: GrpoConfig,
): Experience {
  const { temperature, klCoef, klIn, maskUnfinished } = config;
  const old = once && klIn === "loss" ? undefined : tokenLogprobs(policy, rows, temperature);
  const reference = anchor && tokenLogprobs(anchor, rows, temperature);
  const sum = (values: readonly number[] = []) => values.reduce((a, b) => a + b, 0);
  const shaped = rows.map(({ response }, i) => {
    const kl = reference ? sum(old?.[i]) - sum(reference[i]) : 0;
    const own = shape(scores.total[i] as number, (samples[i] as Sample).finished, response.length, config);
    return klIn === "score" ? own - klCoef * kl : own;
  });
  return {
    rows,
    old,
    reference,
    advantages: advantagesOf(shaped, prompts, moments, config),
    counted: rows.map(({ response }, i) =>
      maskUnfinished && !(samples[i] as Sample).finished ? 0 : response.length,
    ),
  };
}

/** One optimiser step on some of the rows. */
function update(
  policy: Model,
  optimizer: AdamW,
  { rows, advantages, old, reference, counted }: Experience,
  chosen: readonly number[],
  lr: number,
  config: GrpoConfig,
): Metrics {
  const { length, maxTokens, microBatchTokens, temperature, maxGradNorm } = config;
  const counts = chosen.map((i) => counted[i] as number);
  const weights = tokenWeights(counts, length, maxTokens);
  const mine = chosen.map((i, place) => ({ ...(rows[i] as Row), i, weight: weights[place] as number }));
  const found = accumulate(
    batchRows(mine, microBatchTokens),
    (part) => {
      const layout = layOut(part);
      const { responseMask: mask } = layout;
      const flat = responseLogprobs(policy, layout, temperature);
      const known = (of: number[][]) => spread(layout, tensor(part.flatMap(({ i }) => of[i] as number[])));
      const logprobs = {
        policy: spread(layout, flat),
        old: old ? known(old) : spread(layout, flat.detach()),
        reference: reference ? known(reference) : spread(layout, flat.detach()),
      };
      const { loss, metrics } = policyGradientLoss(
        logprobs,
        mask,
        tensor(part.map(({ i }) => advantages[i] as number)),
        tensor(part.map(({ weight }) => weight))
          .unsqueeze(1)
          .mul(mask),
        config,
      );
      const kl = logprobs.policy.detach().sub(logprobs.reference).mul(mask).sum().div(chosen.length);
      const entropy = logprobs.policy.detach().sum().div(-chosen.length);
      return { loss, metrics: { ...metrics, kl, entropy } };
    },
    policy,
  );
  const gradNorm = optimizer.step(lr, maxGradNorm);
  const at = (name: string) => found[name] as number;
  return {
    "loss/policy_avg": at("loss"),
    "policy/clipfrac_avg": at("clipFraction"),
    "policy/approxkl_avg": at("approxKl"),
    "val/ratio": at("ratio"),
    ...(reference && { "objective/kl": at("kl") }),
    "objective/entropy": at("entropy"),
    grad_norm: gradNorm,
  };
}

/** A response's score as it is learned from: less where it did not end, or nearly did not. */
function shape(
  score: number,
  finished: boolean,
  tokens: number,
  { missingEosScore, missingEosPenalty, overlongTokens, maxTokens }: GrpoConfig,
): number {
  const own = finished ? score : (missingEosScore ?? score) - missingEosPenalty;
  return overlongTokens ? own - Math.max(0, (tokens - (maxTokens - overlongTokens)) / overlongTokens) : own;
}
