import { batchRows, countLearned, countTokens, type Row } from "../batch/pack.ts";
import { layOutResponses, learnedMask, responseStatistics } from "../batch/score.ts";
import { DivergedError } from "../data/errors.ts";
import type { DataReport } from "../data/readers.ts";
import type { Columns } from "../data/tables.ts";
import type { Model } from "../models/model.ts";
import { accumulate } from "../nn/accumulate.ts";
import type { AdamW } from "../nn/adamw.ts";
import { type Schedule, scheduleFactor } from "../nn/schedule.ts";
import type { Metrics } from "../run/events.ts";
import type { Warning } from "../run/warnings.ts";
import { sftLoss } from "./sft/loss.ts";

/** Counts the steps of a run. @param perEpoch steps of an epoch */
export const countSteps = (
  perEpoch: number,
  { epochs, maxSteps = Infinity }: { epochs: number; maxSteps?: number | undefined },
): number => Math.min(maxSteps, Math.max(1, Math.round(perEpoch * epochs)));

export interface SupervisedStep {
  /** Name of the stage, for errors. */
  stage: string;
  /** Steps taken before this one. */
  step: number;
  /** Steps of the run. */
  total: number;
  /** Steps of an epoch. */
  perEpoch: number;
  optimizer: AdamW;
  learningRate: number;
  schedule: Schedule;
  /** Share of the steps over which the learning rate rises from 0. */
  warmupRatio: number;
  maxGradNorm: number;
}

/**
 * Takes one optimiser step on a batch of rows.
 * @param learn adds the gradients, and returns metrics with a `loss` among them
 * @returns these metrics, with learning rate, gradient norm, epoch and speed
 * @throws DivergedError when loss or gradient norm is not finite
 */
export function supervisedStep(
  { stage, step, total, perEpoch, optimizer, ...config }: SupervisedStep,
  rows: readonly Row[],
  learn: () => Metrics,
): Metrics {
  const began = performance.now();
  // The rate of a warm-up's first step is 0: a run of one step would learn nothing.
  const warmup = Math.min(Math.ceil(config.warmupRatio * total), total - 1);
  const lr = config.learningRate * scheduleFactor(config.schedule, step, total, warmup);
  const metrics = learn();
  const { loss } = metrics;
  const gradNorm = optimizer.step(lr, config.maxGradNorm);
  if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
    throw new DivergedError(
      `${stage}: the loss is not finite at step ${step + 1} (loss ${loss}, gradient norm ${gradNorm}): lower learningRate, or look for damaged weights; checkpoints are kept`,
    );
  const tokens = countTokens(rows);
  return {
    ...metrics,
    learning_rate: lr,
    grad_norm: gradNorm,
    epoch: (step + 1) / perEpoch,
    num_tokens: tokens,
    tokens_per_second: tokens / ((performance.now() - began) / 1000),
  };
}

/**
 * Computes the SFT loss of a batch of demonstrations, a mean over their response tokens, in nats.
 * @param microBatchTokens most tokens of a forward pass
 * @param learn whether to add the gradients
 * @returns the loss, and the share of the tokens that were the likeliest
 */
export function demonstrationLoss(
  model: Model,
  batch: readonly Row[],
  microBatchTokens: number,
  learn: boolean,
): { loss: number; mean_token_accuracy: number } {
  const count = countLearned(batch);
  const { loss = Number.NaN, correct = 0 } = accumulate(
    batchRows(batch, microBatchTokens),
    (rows) => sftLoss(responseStatistics(model, layOutResponses(rows)), count, learnedMask(rows)),
    learn ? model : undefined,
  );
  return { loss, mean_token_accuracy: correct };
}

/**
 * Reads a file of records, or takes records as they are.
 * @returns also warnings of rows that were dropped and columns that are not used
 */
export async function readRecords<T>(
  data: string | readonly T[],
  read: (path: string, columns?: Columns) => Promise<{ records: T[]; report: DataReport }>,
  columns: Columns | undefined,
): Promise<{ records: readonly T[]; warnings: Warning[] }> {
  if (typeof data !== "string") return { records: data, warnings: [] };
  const { records, report } = await read(data, columns);
  const { file, rows, unused } = report;
  const dropped = Object.entries(report.dropped).map(([reason, count]) => `${count} ${reason}`);
  return {
    records,
    warnings: [
      ...(dropped.length
        ? [{ code: "dropped-rows", message: `${file}: of ${rows} rows were dropped: ${dropped.join(", ")}` }]
        : []),
      ...(unused.length
        ? [{ code: "unused-columns", message: `${file}: columns that are not used: ${unused.join(", ")}` }]
        : []),
    ],
  };
}

/** Warns of completions that were left out for their length. */
export const completionsTooLong = (count: number, maxLength: number): Warning[] =>
  count
    ? [
        {
          code: "too-long",
          message: `${count} completions make more than ${maxLength} tokens and were left out`,
        },
      ]
    : [];
