import { setImmediate } from "node:timers/promises";
import { InputError } from "../data/errors.ts";
import type { Prompt } from "../data/records.ts";
import { drawAt } from "../data/split.ts";
import { loadOptimizer, openLearner, quantisedBase, saveTraining } from "../models/checkpoint.ts";
import { batchGroups } from "../models/groups.ts";
import type { Model } from "../models/model.ts";
import { type Row, tokensIn } from "../models/pack.ts";
import { loadModel } from "../models/pull.ts";
import { accumulate } from "../nn/accumulate.ts";
import { AdamW } from "../nn/adamw.ts";
import { scheduleFactor } from "../nn/schedule.ts";
import { named, openReward, type RewardInput } from "../rewards/open.ts";
import { meansOf } from "../rewards/reward.ts";
import { type Scored, sampleScored } from "../rewards/sample.ts";
import { promptsWithRoom, refuseWithoutSft } from "../rollout/prompts.ts";
import { summariseResponses } from "../rollout/summary.ts";
import { parseConfig } from "../run/config.ts";
import type { Event, Metrics } from "../run/events.ts";
import { inWords, Journal, readState } from "../run/journal.ts";
import { type Training, training } from "../run/training.ts";
import { type DType, Generator, tensor, trim } from "../tensor/index.ts";
import { completionsOf, type Reference, refer } from "./completions.ts";
import { type OnlineConfig, type OnlineSettings, onlineConfig } from "./config.ts";
import { pairLoss } from "./loss.ts";

export interface OnlineDpoOptions extends OnlineSettings {
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

export interface OnlineDpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

interface State {
  step: number;
  generator: string;
  metrics: Metrics;
}

/**
 * Online DPO (Guo et al. 2024): each step samples responses of the policy as it is now, and learns to prefer the best of
 * each prompt's to the worst. @throws InputError for bad data or settings, or when the loss is not finite
 */
export const onlineDpo = (options: OnlineDpoOptions): Training<OnlineDpoResult> => training(train(options));

async function* train({
  policy: from,
  reward,
  prompts: source,
  dtype,
  run,
  resume,
  signal,
  ...settings
}: OnlineDpoOptions): AsyncGenerator<Event, OnlineDpoResult> {
  const config = parseConfig(onlineConfig, settings, "online-dpo");
  const { steps, saveEvery, keepCheckpoints: keep, lora, seed } = config;
  const loaded = await loadModel(from, dtype ? { dtype } : {});
  const reference = quantisedBase(loaded, from, config.quantise, lora);
  if (!config.allowNoSft) refuseWithoutSft(reference, "online-dpo");
  const judge = await openReward(reward, { dtype: reference.dtype });
  const { prompts, tooLong } = await promptsWithRoom(reference, source, config.maxTokens, "online-dpo");
  const journal = new Journal({
    run,
    resume,
    stage: "online-dpo",
    config: { ...config, prompts: inWords(source), reward: named(reward) },
    parents: [from, reward].filter((one) => typeof one === "string"),
  });
  try {
    const fresh = (share: boolean) => reference.clone({ share });
    const policy = openLearner({ fresh, from: journal.from?.dir, dtype: reference.dtype, lora, seed });
    policy.stage = "online-dpo";
    policy.checkpointing = config.gradientCheckpointing;
    const optimizer = new AdamW(policy.train().learned);
    const generator = new Generator(seed);
    let state: State = { step: 0, generator: "", metrics: {} };
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
    yield journal.log({ type: "start", stage: "online-dpo", total: steps });
    yield* journal.warn(tooLong);
    const perStep = Math.max(1, Math.round(config.batchSize / config.samplesPerPrompt));

    while (state.step < steps) {
      if (signal?.aborted) yield* journal.interrupt(state.step, write, { keep });
      const began = performance.now();
      const asked = drawAt(prompts, state.step * perStep, perStep, seed);
      const { temperature, topK, topP, maxTokens, minTokens, stop, samplesPerPrompt: samples } = config;
      const batch = await sampleScored(policy, judge, asked, {
        temperature,
        topK,
        topP,
        maxTokens,
        minTokens,
        stop,
        samples,
        generator,
        signal,
        batchSize: config.rolloutBatchSize,
      });
      const lr = config.learningRate * scheduleFactor(config.schedule, state.step, steps);
      const pairs = pairsOf(batch, config);
      const learned = pairs.length ? update(policy, reference, optimizer, pairs, lr, config) : {};
      if (Object.values(learned).some((value) => !Number.isFinite(value)))
        throw new InputError(
          `online-dpo: the loss is not finite at step ${state.step + 1}: lower learningRate; checkpoints are kept`,
        );
      const seconds = (performance.now() - began) / 1000;
      const step = state.step + 1;
      const finished = batch.samples.map((one) => one.finished);
      const responses = batch.rows.map(({ response }) => response);
      const tokens = tokensIn(batch.rows);
      const metrics: Metrics = {
        ...learned,
        ...summariseResponses(responses, batch.scores.total, finished),
        ...meansOf(batch.scores.parts),
        frac_reward_zero_std: 1 - pairs.length / asked.length,
        episode: step * responses.length,
        lr,
        tokens_per_second: tokens / seconds,
        epoch: (step * perStep) / prompts.length,
      };
      state = { ...state, step, metrics };
      yield* journal.samples(step, batch.samples.slice(0, config.logSamples), batch.scores.total);
      yield journal.step(step, steps, metrics);
      if (step % saveEvery === 0 || step === steps) yield* journal.save(step, write, { keep });
      await setImmediate(); // lets a signal in
    }
    optimizer.dispose();
    judge.dispose();
    policy.finish();
    if (reference !== from) reference.dispose();
    trim();
    yield journal.log({ type: "done", step: steps, metrics: state.metrics });
    return { model: policy, metrics: state.metrics };
  } finally {
    journal.close();
  }
}

/** A prompt's best response and its worst. */
interface Pair {
  rows: [best: Row, worst: Row];
}

/** Pairs of the prompts whose responses do not all score the same. */
function pairsOf({ rows, prompts, samples, scores }: Scored, { missingEosPenalty }: OnlineConfig): Pair[] {
  const score = (i: number) => (scores.total[i] as number) - (samples[i]?.finished ? 0 : missingEosPenalty);
  return [...new Set(prompts)].flatMap((prompt) => {
    const own = prompts.flatMap((other, i) => (other === prompt ? [i] : []));
    const [best, worst] = [1, -1].map((sign) =>
      own.reduce((a, b) => (sign * score(b) > sign * score(a) ? b : a)),
    ) as [number, number];
    return score(best) > score(worst) ? [{ rows: [rows[best] as Row, rows[worst] as Row] }] : [];
  });
}

/** One optimiser step on pairs. */
function update(
  policy: Model,
  reference: Model,
  optimizer: AdamW,
  pairs: readonly Pair[],
  lr: number,
  config: OnlineConfig,
): Metrics {
  const known: Reference = new Map();
  refer(
    known,
    reference,
    pairs.flatMap(({ rows }) => rows),
  );
  const places = (count: number, from: number) =>
    tensor(
      Array.from({ length: count }, (_, i) => 2 * i + from),
      { dtype: "int64" },
    );
  const measured = accumulate(
    batchGroups(pairs, config.microBatchTokens),
    (part) => {
      const rows = part.flatMap(({ rows }) => rows);
      return pairLoss(
        completionsOf(policy, rows, known),
        places(part.length, 0),
        places(part.length, 1),
        tensor(part.map(() => 1 / pairs.length)),
        { ...config, targetMargin: 0 },
      );
    },
    policy,
  );
  return { ...measured, grad_norm: optimizer.step(lr, config.maxGradNorm) };
}
