import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { InputError } from "../data/errors.ts";
import { readDemonstrations } from "../data/readers.ts";
import type { Demonstration } from "../data/records.ts";
import { shuffled, splitByPrompt } from "../data/split.ts";
import { loadOptimizer, saveTraining } from "../models/checkpoint.ts";
import { type Model, openModel } from "../models/model.ts";
import { offsets, pack } from "../models/pack.ts";
import { loadModel } from "../models/pull.ts";
import { accumulate } from "../nn/accumulate.ts";
import { AdamW } from "../nn/adamw.ts";
import { scheduleFactor } from "../nn/schedule.ts";
import { batchesOf } from "../rollout/score.ts";
import { parseConfig } from "../run/config.ts";
import type { Event, Metrics } from "../run/events.ts";
import { Journal, readState } from "../run/journal.ts";
import { type Training, training } from "../run/training.ts";
import { type DType, type Tensor, tensor } from "../tensor/index.ts";
import { encodeExample } from "../text/chat.ts";
import { type SftConfig, sftConfig } from "./config.ts";
import { sftLoss } from "./loss.ts";

export interface SftOptions extends Partial<SftConfig> {
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

/** A sequence, and 1 for each token that is learned. */
interface Example {
  ids: number[];
  mask: number[];
}

/**
 * Supervised fine-tuning on demonstrations: next-token cross-entropy on the responses (Ouyang et al. 2022, §3.5).
 * Sequences are packed without seeing each other.
 * @throws InputError for bad data or settings, or when the loss is not finite
 */
export const sft = (options: SftOptions): Training<SftResult> => training(train(options));

async function* train({ model: from, data, dtype, run, resume, signal, ...settings }: SftOptions): AsyncGenerator<Event, SftResult> {
  const config = parseConfig(sftConfig, settings, "sft");
  const records = typeof data === "string" ? readDemonstrations(data).records : [...data];
  if (!records.length) throw new InputError("sft: there are no demonstrations");
  const base = await loadModel(from, dtype ? { dtype } : {});
  const { train: learned, heldOut } = splitByPrompt(records, config.heldOut, config.seed);
  const examples = encodeAll(base, learned, config);
  const unseen = encodeAll(base, heldOut, config);
  if (!examples.length)
    throw new InputError(`sft: every demonstration is longer than ${limitOf(base, config)} tokens: raise maxLength or shorten them`);

  const perEpoch = Math.ceil(examples.length / config.batchSize);
  const total = Math.max(1, Math.round(perEpoch * config.epochs));
  const { saveEvery = perEpoch, evalEvery = perEpoch, keepCheckpoints: keep } = config;
  const parents = typeof from === "string" ? [from] : [];
  const journal = new Journal({ run, resume, stage: "sft", config: { ...config, data: nameOf(data) }, parents });
  try {
    const policy = journal.from ? openModel(journal.from.dir, { dtype: base.dtype }) : base.clone();
    policy.json.plumbline = { stage: "sft" };
    if (base !== from) base.dispose();
    const optimizer = new AdamW(policy.train().parameters, { weightDecay: config.weightDecay });
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
      yield* journal.warn([{ code: "too-long", message: `${dropped} of ${records.length} demonstrations are longer than ${limitOf(policy, config)} tokens and were dropped` }]);

    while (step < total) {
      if (signal?.aborted) yield* journal.interrupt(step, write, { keep });
      const began = performance.now();
      const batch = batchAt(examples, step, perEpoch, config);
      const lr = config.learningRate * scheduleFactor(config.schedule, step, total, Math.ceil(config.warmupRatio * total));
      const { loss, correct } = lossOf(policy, batch, config.microBatchTokens, true);
      const gradNorm = optimizer.step(lr, config.maxGradNorm);
      if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
        throw new InputError(`sft: the loss is not finite at step ${step + 1} (loss ${loss}, gradient norm ${gradNorm}): lower learningRate, or look for damaged weights; checkpoints are kept`);
      step++;
      const tokens = batch.reduce((sum, { ids }) => sum + ids.length, 0);
      metrics = {
        loss: loss as number,
        mean_token_accuracy: correct as number,
        learning_rate: lr,
        grad_norm: gradNorm,
        epoch: step / perEpoch,
        num_tokens: tokens,
        tokens_per_second: tokens / ((performance.now() - began) / 1000),
      };
      yield journal.step(step, total, metrics);

      let best = false;
      if (unseen.length && (step % evalEvery === 0 || step === total)) {
        const evaluated = lossOf(policy, unseen, config.microBatchTokens, false);
        metrics = { ...metrics, eval_loss: evaluated.loss as number, eval_accuracy: evaluated.correct as number };
        yield journal.log({ type: "eval", step, metrics: { eval_loss: evaluated.loss as number, eval_accuracy: evaluated.correct as number } });
        best = (evaluated.loss as number) < bestLoss;
        if (best) bestLoss = evaluated.loss as number;
      }
      if (best || step % saveEvery === 0 || step === total) yield* journal.save(step, write, { keep, best });
      await setImmediate(); // lets a signal in
    }
    optimizer.dispose();
    for (const weight of policy.parameters.values()) weight.requiresGrad = false;
    yield journal.log({ type: "done", step, metrics });
    return { model: policy, metrics };
  } finally {
    journal.close();
  }
}

const nameOf = (data: string | readonly unknown[]): string => (typeof data === "string" ? join(data) : `${data.length} records`);

const limitOf = (model: Model, config: SftConfig): number => Math.min(config.maxLength, model.dimensions.context);

function encodeAll(model: Model, records: readonly Demonstration[], config: SftConfig): Example[] {
  return records
    .map(({ prompt, completion }) => {
      const { ids, responseMask } = encodeExample(model.text, prompt, completion);
      // Nothing predicts the first token.
      return { ids, mask: config.trainOnPrompt ? ids.map((_, i) => (i ? 1 : 0)) : responseMask };
    })
    .filter(({ ids }) => ids.length <= limitOf(model, config));
}

/** The examples of a step: each epoch has an order of its own. */
function batchAt(examples: readonly Example[], step: number, perEpoch: number, config: SftConfig): Example[] {
  const start = (step % perEpoch) * config.batchSize;
  const order = shuffled(examples.length, config.seed + Math.floor(step / perEpoch));
  return order.slice(start, start + config.batchSize).map((i) => examples[i] as Example);
}

/** Mean loss and accuracy over the learned tokens of a batch; with `learn`, gradients are added. */
function lossOf(model: Model, batch: readonly Example[], microBatchTokens: number, learn: boolean): Record<string, number> {
  const count = batch.reduce((sum, { mask }) => sum + mask.reduce((a, b) => a + b, 0), 0);
  const maskOf = new Map(batch.map(({ ids, mask }) => [ids, mask]));
  const micro = batchesOf(
    batch.map(({ ids }) => ids),
    microBatchTokens,
  );
  const one = (sequences: number[][]) => {
    const starts = offsets(sequences.map((ids) => ids.length));
    const before: number[] = [];
    const targets: number[] = [];
    sequences.forEach((ids, row) => {
      maskOf.get(ids)?.forEach((learned, t) => {
        if (!learned) return;
        before.push((starts[row] as number) + t - 1);
        targets.push(ids[t] as number);
      });
    });
    const int = (values: number[]): Tensor => tensor(values, { dtype: "int64" });
    const logits = model.logits(model.hidden(pack(sequences)).indexSelect(0, int(before)));
    return sftLoss(logits, int(targets), count);
  };
  return accumulate(micro, one, learn);
}
