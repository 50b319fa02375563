import { setImmediate } from "node:timers/promises";
import { InputError } from "../data/errors.ts";
import { readDemonstrations } from "../data/readers.ts";
import type { Demonstration } from "../data/records.ts";
import { batchAt, splitByPrompt } from "../data/split.ts";
import { loadOptimizer, openLearner, quantisedBase, saveTraining } from "../models/checkpoint.ts";
import type { Model } from "../models/model.ts";
import { batchRows, type Row } from "../models/pack.ts";
import { loadModel } from "../models/pull.ts";
import { supervisedStep } from "../models/supervised.ts";
import { accumulate } from "../nn/accumulate.ts";
import { AdamW } from "../nn/adamw.ts";
import { layOut, responseTargets } from "../rollout/score.ts";
import { parseConfig } from "../run/config.ts";
import type { Event, Metrics } from "../run/events.ts";
import { inWords, Journal, readState } from "../run/journal.ts";
import { type Training, training } from "../run/training.ts";
import { type DType, trim } from "../tensor/index.ts";
import { encodeExample } from "../text/chat.ts";
import { type SftConfig, type SftSettings, sftConfig } from "./config.ts";
import { sftLoss } from "./loss.ts";

export interface SftOptions extends SftSettings {
  /** A model, or a name or path for `loadModel`. It is not changed. */
  model: Model | string;
  /** Demonstrations, or a JSONL file of them. */
  data: string | readonly Demonstration[];
  dtype?: DType;
  /** Run directory for events and checkpoints. */
  run?: string | undefined;
  /** Goes on from the run's last checkpoint. */
  resume?: boolean;
  signal?: AbortSignal;
}

export interface SftResult {
  /** The fine-tuned model: a new one, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

interface State {
  step: number;
  bestLoss: number;
  metrics: Metrics;
}

/**
 * Supervised fine-tuning on demonstrations: next-token cross-entropy on the responses (Ouyang et al. 2022, §3.5).
 * Sequences are packed without seeing each other.
 * @throws InputError for bad data or settings, or when the loss is not finite
 */
export const sft = (options: SftOptions): Training<SftResult> => training(train(options));

async function* train({
  model: from,
  data,
  dtype,
  run,
  resume,
  signal,
  ...settings
}: SftOptions): AsyncGenerator<Event, SftResult> {
  const config = parseConfig(sftConfig, settings, "sft");
  const records = typeof data === "string" ? (await readDemonstrations(data)).records : [...data];
  if (!records.length) throw new InputError("sft: there are no demonstrations");
  const loaded = await loadModel(from, dtype ? { dtype } : {});
  const base = quantisedBase(loaded, from, config.quantise, config.lora);
  const { train: learned, heldOut } = splitByPrompt(records, config.heldOut, config.seed);
  const examples = encodeAll(base, learned, config);
  const unseen = encodeAll(base, heldOut, config);
  if (!examples.length)
    throw new InputError(
      `sft: every demonstration is longer than ${limitOf(base, config)} tokens: raise maxLength or shorten them`,
    );

  const perEpoch = Math.ceil(examples.length / config.batchSize);
  const total = Math.max(1, Math.round(perEpoch * config.epochs));
  const { saveEvery = perEpoch, evalEvery = perEpoch, keepCheckpoints: keep } = config;
  const parents = typeof from === "string" ? [from] : [];
  const journal = new Journal({
    run,
    resume,
    stage: "sft",
    config: { ...config, data: inWords(data) },
    parents,
  });
  try {
    const { lora, seed } = config;
    const fresh = (share: boolean) => base.clone({ share });
    const policy = openLearner({ fresh, from: journal.from?.dir, dtype: base.dtype, lora, seed });
    policy.stage = "sft";
    if (base !== from && !lora) base.dispose();
    policy.checkpointing = config.gradientCheckpointing;
    const optimizer = new AdamW(policy.train().learned, { weightDecay: config.weightDecay });
    let { step, bestLoss, metrics }: State = { step: 0, bestLoss: Infinity, metrics: {} };
    if (journal.from) {
      ({ step, bestLoss, metrics } = readState<State>(journal.from.dir));
      bestLoss ??= Infinity; // JSON has no infinity
      if (step < total) loadOptimizer(journal.from.dir, "policy", optimizer);
      yield journal.log({ type: "resumed", step });
    }
    const write = (dir: string) => {
      policy.save(dir);
      saveTraining(dir, step < total ? { policy: optimizer } : {}, { step, bestLoss, metrics });
    };

    yield journal.log({ type: "start", stage: "sft", total });
    const dropped = records.length - examples.length - unseen.length;
    if (dropped)
      yield* journal.warn([
        {
          code: "too-long",
          message: `${dropped} of ${records.length} demonstrations are longer than ${limitOf(policy, config)} tokens and were dropped`,
        },
      ]);

    while (step < total) {
      if (signal?.aborted) yield* journal.interrupt(step, write, { keep });
      const batch = batchAt(examples, step, perEpoch, config);
      metrics = supervisedStep({ stage: "sft", step, total, perEpoch, optimizer, ...config }, batch, () => {
        const { loss = Number.NaN, correct = 0 } = lossOf(policy, batch, config.microBatchTokens, true);
        return { loss, mean_token_accuracy: correct };
      });
      step++;
      yield journal.step(step, total, metrics);

      let best = false;
      if (unseen.length && (step % evalEvery === 0 || step === total)) {
        yield journal.log({ type: "phase", what: `evaluating on ${unseen.length} held-out demonstrations` });
        const { loss = Number.NaN, correct = 0 } = lossOf(policy, unseen, config.microBatchTokens, false);
        const evaluated = { eval_loss: loss, eval_accuracy: correct };
        metrics = { ...metrics, ...evaluated };
        yield journal.log({ type: "eval", step, metrics: evaluated });
        best = loss < bestLoss;
        if (best) bestLoss = loss;
      }
      if (best || step % saveEvery === 0 || step === total) yield* journal.save(step, write, { keep, best });
      await setImmediate(); // lets a signal in
    }
    optimizer.dispose();
    policy.finish();
    if (base !== from && lora) base.dispose();
    trim();
    yield journal.log({ type: "done", step, metrics });
    return { model: policy, metrics };
  } finally {
    journal.close();
  }
}

const limitOf = (model: Model, config: SftConfig): number =>
  Math.min(config.maxLength, model.dimensions.context);

function encodeAll(model: Model, records: readonly Demonstration[], config: SftConfig): Row[] {
  return records
    .map(({ prompt, completion }) => encodeExample(model.text, prompt, completion))
    .filter(({ prompt, response }) => prompt.length + response.length <= limitOf(model, config))
    .map(({ prompt, response }) =>
      // Nothing predicts a first token, so it is always given.
      config.trainOnPrompt
        ? { prompt: prompt.slice(0, 1), response: [...prompt.slice(1), ...response] }
        : { prompt, response },
    );
}

/** Mean loss and accuracy over the learned tokens of a batch; with `learn`, gradients are added. */
function lossOf(
  model: Model,
  batch: readonly Row[],
  microBatchTokens: number,
  learn: boolean,
): Record<string, number> {
  const count = batch.reduce((sum, { response }) => sum + response.length, 0);
  return accumulate(
    batchRows(batch, microBatchTokens),
    (rows) => sftLoss(responseTargets(model, layOut(rows)), count),
    learn ? model : undefined,
  );
}
