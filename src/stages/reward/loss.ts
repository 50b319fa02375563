import { shareRight } from "../../math/index.ts";
import type { Tensor } from "../../tensor/index.ts";

/**
 * Computes the Bradley–Terry loss of rankings (Ouyang et al. 2022, eq. 1): −Σ w log σ(r_better − r_worse − margin).
 * @param scores (completions)
 * @param better, worse (pairs) int64: indices into `scores`
 * @param weights (pairs): 1 / pairs of the prompt / prompts weighs all prompts equally. Ouyang et al. divide by C(K, 2), the
 * same where there are no ties, which make no pair here
 * @param margins (pairs): by how much the better one should win, 0 for any
 * @returns metrics as sums under the weights, and the sum of the weights
 */
export function rankingLoss(
  scores: Tensor,
  better: Tensor,
  worse: Tensor,
  weights: Tensor,
  margins: Tensor,
): { loss: Tensor; metrics: { accuracy: Tensor; margin: Tensor; weight: Tensor } } {
  const differences = scores.indexSelect(0, better).sub(scores.indexSelect(0, worse));
  const loss = differences.sub(margins).logSigmoid().mul(weights).sum().neg();
  const detached = differences.detach();
  const sum = (values: Tensor) => values.mul(weights).sum();
  const accuracy = sum(shareRight(detached));
  return { loss, metrics: { accuracy, margin: sum(detached), weight: weights.sum() } };
}
