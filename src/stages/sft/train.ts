import type { Row } from "../../batch/pack.ts";
import { InputError } from "../../data/errors.ts";
import { readDemonstrations } from "../../data/readers.ts";
import type { Demonstration } from "../../data/records.ts";
import { batchAt, splitByPrompt } from "../../data/split.ts";
import type { Model } from "../../models/model.ts";
import { parseConfig } from "../../run/config.ts";
import type { Event, Metrics } from "../../run/events.ts";
import { type Training, training } from "../../run/training.ts";
import type { Warning } from "../../run/warnings.ts";
import { encodeDemonstration } from "../../text/chat.ts";
import { Stage, type StageOptions, type StageState, splitOptions } from "../stage.ts";
import { countSteps, demonstrationLoss, readRecords, supervisedStep } from "../supervised.ts";
import { type SftConfig, type SftSettings, sftConfig } from "./config.ts";

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
  const { records, warnings } = await readRecords(data, readDemonstrations, options.columns);
  if (!records.length) throw new InputError("sft: there are no demonstrations");
  const state: SftState = { step: 0, bestLoss: Infinity, metrics: {} };
  const stage = await Stage.open("sft", from, options, config, state);
  try {
    const { train: learned, heldOut } = splitByPrompt(records, config.heldOut, config.seed);
    const limit = Math.min(config.maxLength, stage.base.dimensions.context);
    const encode = (records: readonly Demonstration[]) => encodeAll(stage.base, records, limit, config);
    const [examples, unseen] = [encode(learned), encode(heldOut)];
    if (!examples.rows.length)
      throw new InputError(
        `sft: every demonstration is longer than ${limit} tokens: raise maxLength or shorten them`,
      );
    const perEpoch = Math.ceil(examples.rows.length / config.batchSize);
    const total = countSteps(perEpoch, config);
    stage.openRun({ total, data: { data }, parents: [from] });
    const policy = stage.learner((share) => stage.base.clone({ share }));
    const optimizer = stage.optimizer("policy", policy, { weightDecay: config.weightDecay });
    yield* stage.start([...warnings, ...tooLong([examples, unseen], limit)]);

    const step = () => {
      const batch = batchAt(examples.rows, stage.state.step, perEpoch, config);
      const progress = { stage: "sft", step: stage.state.step, total, perEpoch };
      const metrics = supervisedStep({ ...progress, optimizer, ...config }, batch, () =>
        demonstrationLoss(policy, batch, config.microBatchTokens, true),
      );
      return { metrics };
    };
    const measure = () => {
      const measured = demonstrationLoss(policy, unseen.rows, config.microBatchTokens, false);
      const { loss, mean_token_accuracy: accuracy } = measured;
      const bestLoss = stage.state.bestLoss ?? Infinity; // JSON has no infinity
      const best = loss < bestLoss;
      if (best) stage.state = { ...stage.state, bestLoss: loss };
      return { metrics: { eval_loss: loss, eval_accuracy: accuracy }, best };
    };
    const { saveEvery = perEpoch, evalEvery: every = perEpoch } = config;
    const what = `evaluating on ${unseen.rows.length} held-out demonstrations`;
    yield* stage.steps({
      saveEvery,
      step,
      evaluations: [unseen.rows.length ? { every, what, measure } : undefined],
    });
    return { model: yield* stage.finish(policy), metrics: stage.state.metrics };
  } finally {
    stage.dispose();
  }
}

/** Encoded demonstrations, and the number of rows that were too long. */
interface Encoded {
  rows: Row[];
  tooLong: number;
}

/** Warns of demonstrations that were dropped for their length. */
function tooLong(encoded: readonly Encoded[], limit: number): Warning[] {
  const dropped = encoded.reduce((sum, { tooLong }) => sum + tooLong, 0);
  const all = encoded.reduce((sum, { rows }) => sum + rows.length, dropped);
  const message = `${dropped} of ${all} demonstrations are longer than ${limit} tokens and were dropped`;
  return dropped ? [{ code: "too-long", message }] : [];
}

function encodeAll(
  model: Model,
  records: readonly Demonstration[],
  limit: number,
  { turns, trainOnPrompt }: SftConfig,
): Encoded {
  const all = records.flatMap((record) => encodeDemonstration(model.text, record, turns));
  const rows = all.filter(({ promptTokens, tokens }) => promptTokens.length + tokens.length <= limit);
  return {
    // Nothing predicts a first token, so it is always given.
    rows: trainOnPrompt
      ? rows.map(({ promptTokens, tokens }) => ({
          promptTokens: promptTokens.slice(0, 1),
          tokens: [...promptTokens.slice(1), ...tokens],
        }))
      : rows,
    tooLong: all.length - rows.length,
  };
}
