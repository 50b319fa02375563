import type { Tensor } from "../../tensor/index.ts";

/**
 * Next-token cross-entropy in nats: −Σ log p(target) / count.
 * @param logprobs (tokens) of the targets @param correct (tokens) 1 where no token was likelier
 * @param count targets of the whole batch, of which these may be a part
 */
export function sftLoss(
  { logprobs, correct }: { logprobs: Tensor; correct: Tensor },
  count: number,
): { loss: Tensor; metrics: { correct: Tensor } } {
  return { loss: logprobs.sum().div(-count), metrics: { correct: correct.sum().div(count) } };
}
