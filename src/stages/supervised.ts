import { countTokens, type Row } from "../batch/pack.ts";
import { DivergedError } from "../data/errors.ts";
import type { AdamW } from "../nn/adamw.ts";
import { type Schedule, scheduleFactor } from "../nn/schedule.ts";
import type { Metrics } from "../run/events.ts";
import type { Warning } from "../run/warnings.ts";

export interface SupervisedStep {
  /** What is told of a loss that is not finite. */
  stage: string;
  /** From 0. */
  step: number;
  total: number;
  perEpoch: number;
  optimizer: AdamW;
  learningRate: number;
  schedule: Schedule;
  /** Share of the steps in which the learning rate rises. */
  warmupRatio: number;
  maxGradNorm: number;
}

/**
 * A step on a batch of rows: gradients by `learn`, then the optimiser's step.
 * @returns what `learn` measured, a `loss` among it, and what all such steps tell @throws DivergedError when it is not finite
 */
export function supervisedStep(
  { stage, step, total, perEpoch, optimizer, ...config }: SupervisedStep,
  rows: readonly Row[],
  learn: () => Metrics,
): Metrics {
  const began = performance.now();
  const warmup = Math.ceil(config.warmupRatio * total);
  const lr = config.learningRate * scheduleFactor(config.schedule, step, total, warmup);
  const measured = learn();
  const { loss } = measured;
  const gradNorm = optimizer.step(lr, config.maxGradNorm);
  if (!Number.isFinite(loss) || !Number.isFinite(gradNorm))
    throw new DivergedError(
      `${stage}: the loss is not finite at step ${step + 1} (loss ${loss}, gradient norm ${gradNorm}): lower learningRate, or look for damaged weights; checkpoints are kept`,
    );
  const tokens = countTokens(rows);
  return {
    ...measured,
    learning_rate: lr,
    grad_norm: gradNorm,
    epoch: (step + 1) / perEpoch,
    num_tokens: tokens,
    tokens_per_second: tokens / ((performance.now() - began) / 1000),
  };
}

/** The warning that completions were left out for their length, if any were. */
export const completionsTooLong = (count: number, maxLength: number): Warning[] =>
  count
    ? [
        {
          code: "too-long",
          message: `${count} completions make more than ${maxLength} tokens and were left out`,
        },
      ]
    : [];
