import { noGrad, scope, type Tensor } from "../tensor/index.ts";

/** Result of a loss function. Metrics stay tensors, which are read once per step. */
export interface Loss {
  loss: Tensor;
  metrics: Record<string, Tensor>;
}

/** A model that may use gradient checkpointing: `backwardBlocks` finishes the backward pass. */
export interface Learner {
  backwardBlocks(): void;
}

/**
 * Sums loss and metrics over the micro-batches of a batch, and accumulates gradients if there is a `learner`. Only one
 * micro-batch's activations are in memory at a time.
 * @param lossOf computes a micro-batch's part of the batch's loss: its sum divided by the count of the whole batch
 * @returns the sums, by name; the loss is `loss`
 */
export function accumulate<T>(
  microBatches: readonly T[],
  lossOf: (microBatch: T) => Loss,
  learner?: Learner,
): Record<string, number> {
  const total: Record<string, number> = {};
  const run = (microBatch: T) =>
    scope(() => {
      const { loss, metrics } = lossOf(microBatch);
      if (learner) {
        loss.backward();
        learner.backwardBlocks();
      }
      for (const [name, value] of Object.entries({ loss, ...metrics }))
        total[name] = (total[name] ?? 0) + value.item();
    });
  for (const microBatch of microBatches) learner ? run(microBatch) : noGrad(() => run(microBatch));
  return total;
}
