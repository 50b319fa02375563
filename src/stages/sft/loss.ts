import type { Tensor } from "../../tensor/index.ts";

/**
 * Next-token cross-entropy in nats: −Σ log p(target) / count.
 * @param logprobs (tokens) of the targets @param correct (tokens) 1 where no token was likelier
 * @param count targets to learn of the whole batch, of which these may be a part
 * @param mask (tokens) 1 for a target to learn, 0 for another. Default: all are learned
 */
export function sftLoss(
  { logprobs, correct }: { logprobs: Tensor; correct: Tensor },
  count: number,
  mask?: Tensor,
): { loss: Tensor; metrics: { correct: Tensor } } {
  const sum = (values: Tensor) => (mask ? values.mul(mask) : values).sum();
  return { loss: sum(logprobs).div(-count), metrics: { correct: sum(correct).div(count) } };
}
