import { noGrad, scope, type Tensor } from "../tensor/index.ts";

/** What a loss function gives: metrics stay tensors until they are read, once a step. */
export interface Loss {
  loss: Tensor;
  metrics: Record<string, Tensor>;
}

/** Something whose gradients `backward` of a loss may leave to be finished. */
export interface Learner {
  backwardBlocks(): void;
}

/**
 * Sums loss and metrics over a batch's micro-batches, one at a time so that only one's activations are in memory; with
 * a `learner`, adds their gradients. Each micro-batch's loss must be its share of the whole: a sum over the batch's count.
 */
export function accumulate<T>(
  microBatches: readonly T[],
  lossOf: (microBatch: T) => Loss,
  learner?: Learner,
): Record<string, number> {
  const total: Record<string, number> = {};
  const one = (microBatch: T) =>
    scope(() => {
      const { loss, metrics } = lossOf(microBatch);
      if (learner) {
        loss.backward();
        learner.backwardBlocks();
      }
      for (const [name, value] of Object.entries({ loss, ...metrics }))
        total[name] = (total[name] ?? 0) + value.item();
    });
  for (const microBatch of microBatches) learner ? one(microBatch) : noGrad(() => one(microBatch));
  return total;
}
