import { targetsUnder } from "../math/index.ts";
import type { Tensor } from "../tensor/index.ts";

/**
 * Next-token cross-entropy in nats: −Σ log p(target) / count.
 * @param logits (tokens, vocab) of the positions that predict the targets @param targets (tokens) int64
 * @param count targets of the whole batch, of which these may be a part
 */
export function sftLoss(
  logits: Tensor,
  targets: Tensor,
  count: number,
): { loss: Tensor; metrics: { correct: Tensor } } {
  const { logprobs, correct } = targetsUnder(logits, targets);
  return { loss: logprobs.sum().div(-count), metrics: { correct: correct.sum().div(count) } };
}
