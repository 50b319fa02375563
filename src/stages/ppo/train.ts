import { setImmediate } from "node:timers/promises";
import { readDemonstrations } from "../../data/readers.ts";
import type { Demonstration, Prompt } from "../../data/records.ts";
import { drawAt } from "../../data/split.ts";
import type { Model } from "../../models/model.ts";
import { loadModel } from "../../models/pull.ts";
import { scheduleFactor } from "../../nn/schedule.ts";
import { named, openReward, type RewardInput } from "../../rewards/open.ts";
import { meansOf } from "../../rewards/reward.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { inWords, Journal } from "../../run/journal.ts";
import { type Training, training } from "../../run/training.ts";
import { type DType, trim } from "../../tensor/index.ts";
import { quantisedBase } from "../checkpoint.ts";
import { promptsWithRoom, refuseWithoutSft } from "../prompts.ts";
import { type PpoSettings, ppoConfig } from "./config.ts";
import { PpoTrainer } from "./trainer.ts";

export interface PpoOptions extends PpoSettings {
  /** The SFT model, or a name or path for `loadModel`: where the policy begins, and the frozen reference. */
  policy: Model | string;
  /** A reward model, or a name or path of one; a function, a module, a command, a server; or a weighted sum of such. */
  reward: RewardInput;
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
  if (!allowNoSft) refuseWithoutSft(base, "ppo");
  const judge = await openReward(reward, { dtype: base.dtype });
  const { prompts, tooLong } = await promptsWithRoom(base, source, config.maxTokens, "ppo");
  const demonstrations = typeof ptxData === "string" ? (await readDemonstrations(ptxData)).records : ptxData;

  const parents = [from, reward].filter((one) => typeof one === "string");
  const journal = new Journal({
    run,
    resume,
    stage: "ppo",
    config: { ...config, prompts: inWords(source), reward: named(reward) },
    parents,
  });
  try {
    // A reward model with the policy's vocabulary is the better start for the critic.
    const fits = judge.model?.dimensions.vocab === base.dimensions.vocab;
    const trainer = new PpoTrainer(
      { ...stepConfig, policy: base, criticFrom: fits ? judge.model : undefined, ptxData: demonstrations },
      journal.from?.dir,
    );
    const write = (dir: string) => trainer.save(dir, { optimizers: trainer.stepsTaken < steps });
    if (journal.from) yield journal.log({ type: "resumed", step: trainer.stepsTaken });
    yield journal.log({ type: "start", stage: "ppo", total: steps });
    yield* journal.warn(tooLong);
    const warned = new Set<string>();
    const perStep = Math.max(1, Math.round(batchSize / samplesPerPrompt));
    let metrics: Metrics = {};

    while (trainer.stepsTaken < steps) {
      const taken = trainer.stepsTaken;
      if (signal?.aborted) yield* journal.interrupt(taken, write, { keep });
      const began = performance.now();
      const batch = drawAt(prompts, taken * perStep, perStep, config.seed);
      const rollout = await trainer.generate(
        batch.map(({ prompt }) => prompt),
        { samples: samplesPerPrompt },
      );
      const { queries, responses, texts, finished, logprobs } = rollout;
      const samples = texts.map((response, i) => {
        const asked = batch[rollout.prompts[i] as number] as Prompt;
        return { ...asked, response, finished: finished[i] as boolean };
      });
      const { total: scores, parts } = await judge.score(samples, signal);
      const rateFactor = scheduleFactor(schedule, taken, steps);
      const done = await trainer.step(queries, responses, scores, { finished, logprobs, rateFactor });
      const seconds = (performance.now() - began) / 1000;
      const step = trainer.stepsTaken;
      const tokens = [...queries, ...responses].reduce((sum, ids) => sum + ids.length, 0);
      metrics = {
        ...done.metrics,
        ...meansOf(parts),
        episode: step * queries.length,
        eps: queries.length / seconds,
        tokens_per_second: tokens / seconds,
        epoch: (step * perStep) / prompts.length,
      };
      yield* journal.samples(step, samples.slice(0, logSamples), scores);
      yield journal.step(step, steps, metrics);
      // A guard rail speaks once, not at every step.
      yield* journal.warn(done.warnings.filter(({ code }) => !warned.has(code) && warned.add(code)));
      if (step % saveEvery === 0 || step === steps) yield* journal.save(step, write, { keep });
      await setImmediate(); // lets a signal in
    }
    const model = trainer.finish();
    judge.dispose();
    if (base !== from) base.dispose();
    trim();
    yield journal.log({ type: "done", step: steps, metrics });
    return { model, metrics };
  } finally {
    journal.close();
  }
}
