import { batchRows, type Row } from "../../batch/pack.ts";
import { layOutResponses, responseStatistics } from "../../batch/score.ts";
import { InputError } from "../../data/errors.ts";
import { readDemonstrations } from "../../data/readers.ts";
import type { Demonstration } from "../../data/records.ts";
import { batchAt, splitByPrompt } from "../../data/split.ts";
import type { Model } from "../../models/model.ts";
import { accumulate } from "../../nn/accumulate.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import type { Warning } from "../../run/warnings.ts";
import { encodeExample } from "../../text/chat.ts";
import { Stage, type StageOptions, type StageState, splitOptions } from "../stage.ts";
import { supervisedStep } from "../supervised.ts";
import { type SftConfig, type SftSettings, sftConfig } from "./config.ts";
import { sftLoss } from "./loss.ts";

export interface SftOptions extends SftSettings, StageOptions {
  /** A model, or a name or path for `loadModel`. It is not changed. */
  model: Model | string;
  /** Demonstrations, or a JSONL file of them. */
  data: string | readonly Demonstration[];
}

export interface SftResult {
  /** The fine-tuned model: a new one, yours to dispose of. */
  model: Model;
  metrics: Metrics;
}

interface SftState extends StageState {
  bestLoss: number;
}

/**
 * Supervised fine-tuning on demonstrations: next-token cross-entropy on the responses (Ouyang et al. 2022, §3.5).
 * Sequences are packed without seeing each other.
 * @throws InputError for bad data or settings, DivergedError when the loss is not finite
 */
export const sft = (options: SftOptions): Training<SftResult> => training(train(options));

async function* train({ model: from, data, ...rest }: SftOptions): AsyncGenerator<Event, SftResult> {
  const { options, settings } = splitOptions(rest);
  const config = parseConfig(sftConfig, settings, "sft");
  const records = typeof data === "string" ? (await readDemonstrations(data)).records : [...data];
  if (!records.length) throw new InputError("sft: there are no demonstrations");
  const state: SftState = { step: 0, bestLoss: Infinity, metrics: {} };
  const stage = await Stage.open("sft", from, options, config, state);
  try {
    const { train: learned, heldOut } = splitByPrompt(records, config.heldOut, config.seed);
    const examples = encodeAll(stage.base, learned, config);
    const unseen = encodeAll(stage.base, heldOut, config);
    const limit = limitOf(stage.base, config);
    if (!examples.length)
      throw new InputError(
        `sft: every demonstration is longer than ${limit} tokens: raise maxLength or shorten them`,
      );
    const perEpoch = Math.ceil(examples.length / config.batchSize);
    const total = Math.max(1, Math.round(perEpoch * config.epochs));
    stage.openRun({ total, data: { data }, parents: [from] });
    const policy = stage.learner((share) => stage.base.clone({ share }));
    const optimizer = stage.optimizer("policy", policy, { weightDecay: config.weightDecay });
    yield* stage.start(tooLong(records.length - examples.length - unseen.length, records.length, limit));

    const step = () => {
      const batch = batchAt(examples, stage.state.step, perEpoch, config);
      const progress = { stage: "sft", step: stage.state.step, total, perEpoch };
      const metrics = supervisedStep({ ...progress, optimizer, ...config }, batch, () => {
        const { loss = Number.NaN, correct = 0 } = lossOf(policy, batch, config.microBatchTokens, true);
        return { loss, mean_token_accuracy: correct };
      });
      return { metrics };
    };
    const measure = () => {
      const { loss = Number.NaN, correct = 0 } = lossOf(policy, unseen, config.microBatchTokens, false);
      const bestLoss = stage.state.bestLoss ?? Infinity; // JSON has no infinity
      const best = loss < bestLoss;
      if (best) stage.state = { ...stage.state, bestLoss: loss };
      return { metrics: { eval_loss: loss, eval_accuracy: correct }, best };
    };
    const { saveEvery = perEpoch, evalEvery: every = perEpoch } = config;
    const what = `evaluating on ${unseen.length} held-out demonstrations`;
    yield* stage.steps({ saveEvery, step, evaluate: unseen.length ? { every, what, measure } : undefined });
    return { model: yield* stage.finish(policy), metrics: stage.state.metrics };
  } finally {
    stage.dispose();
  }
}

/** Warns of demonstrations that were dropped for their length. */
const tooLong = (dropped: number, all: number, limit: number): Warning[] =>
  dropped
    ? [
        {
          code: "too-long",
          message: `${dropped} of ${all} demonstrations are longer than ${limit} tokens and were dropped`,
        },
      ]
    : [];

const limitOf = (model: Model, config: SftConfig): number =>
  Math.min(config.maxLength, model.dimensions.context);

function encodeAll(model: Model, records: readonly Demonstration[], config: SftConfig): Row[] {
  return records
    .map(({ prompt, completion }) => encodeExample(model.text, prompt, completion))
    .filter(({ promptTokens, tokens }) => promptTokens.length + tokens.length <= limitOf(model, config))
    .map(({ promptTokens, tokens }) =>
      // Nothing predicts a first token, so it is always given.
      config.trainOnPrompt
        ? { promptTokens: promptTokens.slice(0, 1), tokens: [...promptTokens.slice(1), ...tokens] }
        : { promptTokens, tokens },
    );
}

/** Computes mean loss and accuracy over the response tokens of a batch. @param learn whether to add the gradients */
function lossOf(
  model: Model,
  batch: readonly Row[],
  microBatchTokens: number,
  learn: boolean,
): Record<string, number> {
  const count = batch.reduce((sum, { tokens: response }) => sum + response.length, 0);
  return accumulate(
    batchRows(batch, microBatchTokens),
    (rows) => sftLoss(responseStatistics(model, layOutResponses(rows)), count),
    learn ? model : undefined,
  );
}
