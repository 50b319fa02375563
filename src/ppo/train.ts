import { setImmediate } from "node:timers/promises";
import { InputError } from "../data/errors.ts";
import { readDemonstrations, readPrompts } from "../data/readers.ts";
import type { Demonstration, Message, Prompt } from "../data/records.ts";
import { shuffled } from "../data/split.ts";
import { quantisedBase } from "../models/checkpoint.ts";
import { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { scheduleFactor } from "../nn/schedule.ts";
import { scoreAll } from "../rollout/score.ts";
import { parseConfig } from "../run/config.ts";
import type { Event, Metrics } from "../run/events.ts";
import { Journal } from "../run/journal.ts";
import { type Training, training } from "../run/training.ts";
import { type DType, trim } from "../tensor/index.ts";
import { encodeExample, encodePrompt } from "../text/chat.ts";
import { type PpoSettings, ppoConfig } from "./config.ts";
import { PpoTrainer } from "./trainer.ts";

/** A response to be scored. */
export interface Sample {
  prompt: Message[];
  response: string;
  finished: boolean;
  /** The prompt's, where the data has one. */
  id?: string | undefined;
}

/** Scores responses, one number each: any function will do. */
export type RewardFunction = (samples: Sample[]) => number[] | Promise<number[]>;

export interface PpoOptions extends PpoSettings {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. */
  policy: Model | string;
  /** A reward model, or a name or path of one, or a function. */
  reward: Model | string | RewardFunction;
  /** Prompts, or a JSONL file of them. */
  prompts: string | readonly Prompt[];
  /** Demonstrations that PPO-ptx mixes in, or a JSONL file of them; see `ptxCoef`. */
  ptxData?: string | readonly Demonstration[] | undefined;
  dtype?: DType;
  run?: string | undefined;
  resume?: boolean;
  signal?: AbortSignal;
}

export interface PpoResult {
  /** The trained policy: a new model, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

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
    keepCheckpoints: keep,
    quantise,
    ...stepConfig
  } = config;
  const loaded = await loadModel(from, dtype ? { dtype } : {});
  const base = quantisedBase(loaded, from, quantise, config.lora);
  if (!allowNoSft) refuseWithoutSft(base);
  const judge = typeof reward === "function" ? reward : await loadModel(reward, { dtype: base.dtype });
  if (judge instanceof Model && judge.head !== "score")
    throw new InputError(
      "ppo: the reward model has no scalar head: train one with `plumbline reward`, or give a function",
    );
  const score = judge instanceof Model ? scoreWith(judge) : judge;
  const all = typeof source === "string" ? (await readPrompts(source)).records : [...source];
  const room = base.dimensions.context - config.maxTokens;
  const prompts = all.filter(({ prompt }) => encodePrompt(base.text, prompt).length <= room);
  if (!prompts.length)
    throw new InputError(
      all.length
        ? `ppo: every prompt is longer than ${room} tokens, what the context leaves beside maxTokens`
        : "ppo: there are no prompts",
    );
  const demonstrations = typeof ptxData === "string" ? (await readDemonstrations(ptxData)).records : ptxData;

  const named = (value: unknown) =>
    typeof value === "string" ? value : typeof value === "function" ? "function" : "in memory";
  const parents = [from, reward].filter((one) => typeof one === "string");
  const journal = new Journal({
    run,
    resume,
    stage: "ppo",
    config: { ...config, prompts: named(source), reward: named(reward) },
    parents,
  });
  try {
    // A reward model with the policy's vocabulary is the better start for the critic.
    const shared = judge instanceof Model && judge.dimensions.vocab === base.dimensions.vocab;
    const trainer = new PpoTrainer(
      { ...stepConfig, policy: base, criticFrom: shared ? judge : undefined, ptxData: demonstrations },
      journal.from?.dir,
    );
    const write = (dir: string) => trainer.save(dir, { optimizers: trainer.stepsTaken < steps });
    if (journal.from) yield journal.log({ type: "resumed", step: trainer.stepsTaken });
    yield journal.log({ type: "start", stage: "ppo", total: steps });
    if (prompts.length < all.length)
      yield* journal.warn([
        {
          code: "too-long",
          message: `${all.length - prompts.length} of ${all.length} prompts are longer than ${room} tokens and were dropped`,
        },
      ]);
    const warned = new Set<string>();
    const perStep = Math.max(1, Math.round(batchSize / samplesPerPrompt));
    let metrics: Metrics = {};

    while (trainer.stepsTaken < steps) {
      const taken = trainer.stepsTaken;
      if (signal?.aborted) yield* journal.interrupt(taken, write, { keep });
      const began = performance.now();
      const batch = promptsOf(prompts, taken, perStep, config.seed);
      const rollout = await trainer.generate(
        batch.map(({ prompt }) => prompt),
        { samples: samplesPerPrompt },
      );
      const { queries, responses, texts, finished, logprobs } = rollout;
      const samples = texts.map((response, i) => {
        const { prompt, id } = batch[rollout.prompts[i] as number] as Prompt;
        return { prompt, response, finished: finished[i] as boolean, id };
      });
      const scores = await score(samples);
      const rateFactor = scheduleFactor(schedule, taken, steps);
      const done = await trainer.step(queries, responses, scores, { finished, logprobs, rateFactor });
      const seconds = (performance.now() - began) / 1000;
      const step = trainer.stepsTaken;
      const tokens = [...queries, ...responses].reduce((sum, ids) => sum + ids.length, 0);
      metrics = {
        ...done.metrics,
        episode: step * queries.length,
        eps: queries.length / seconds,
        tokens_per_second: tokens / seconds,
        epoch: (step * perStep) / prompts.length,
      };
      for (const [i, sample] of samples.slice(0, logSamples).entries())
        yield journal.log({
          type: "sample",
          step,
          prompt: sample.prompt.at(-1)?.content ?? "",
          response: sample.response,
          finished: sample.finished,
          score: scores[i] as number,
        });
      yield journal.step(step, steps, metrics);
      // A guard rail speaks once, not at every step.
      yield* journal.warn(done.warnings.filter(({ code }) => !warned.has(code) && warned.add(code)));
      if (step % saveEvery === 0 || step === steps) yield* journal.save(step, write, { keep });
      await setImmediate(); // lets a signal in
    }
    const model = trainer.finish();
    if (judge instanceof Model && judge !== reward) judge.dispose();
    if (base !== from) base.dispose();
    trim();
    yield journal.log({ type: "done", step: steps, metrics });
    return { model, metrics };
  } finally {
    journal.close();
  }
}

/** The prompts of a step: each epoch has an order of its own, and a batch may reach into the next. */
function promptsOf(prompts: readonly Prompt[], step: number, perStep: number, seed: number): Prompt[] {
  return Array.from({ length: perStep }, (_, i) => {
    const place = step * perStep + i;
    const order = shuffled(prompts.length, seed + Math.floor(place / prompts.length));
    return prompts[order[place % prompts.length] as number] as Prompt;
  });
}

const scoreWith =
  (judge: Model): RewardFunction =>
  (samples) =>
    // An empty response still ends: it is judged by its end-of-turn token.
    scoreAll(
      judge,
      samples.map(({ prompt, response }) =>
        response
          ? encodeExample(judge.text, prompt, response)
          : { prompt: encodePrompt(judge.text, prompt), response: [judge.text.eos] },
      ),
    );

/** PPO cannot teach a model to answer at all: SFT must. A chat template tells of one that its makers tuned. */
function refuseWithoutSft(model: Model): void {
  const stage = (model.json.plumbline as { stage?: string } | undefined)?.stage;
  if (stage === undefined && model.tokenizer?.chatTemplate === undefined)
    throw new InputError(
      "ppo: this model never had supervised fine-tuning (it has no chat template and no `plumbline sft` made it): PPO would explore from noise. Run `plumbline sft` first, or pass --allow-no-sft (allowNoSft: true)",
    );
}
