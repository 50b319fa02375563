import type { Tensor } from "../../tensor/index.ts";

/**
 * Computes the Bradley–Terry loss of rankings (Ouyang et al. 2022, eq. 1): −Σ w log σ(r_better − r_worse − margin).
 * @param scores (completions)
 * @param better, worse (pairs) int64: indices into `scores`
 * @param weights (pairs): 1 / pairs of the prompt / prompts weighs all prompts equally
 * @param margins (pairs): by how much the better one should win, 0 for any
 */
export function rankingLoss(
  scores: Tensor,
  better: Tensor,
  worse: Tensor,
  weights: Tensor,
  margins: Tensor,
): { loss: Tensor; metrics: { accuracy: Tensor; margin: Tensor } } {
  const differences = scores.indexSelect(0, better).sub(scores.indexSelect(0, worse));
  const loss = differences.sub(margins).logSigmoid().mul(weights).sum().neg();
  const detached = differences.detach();
  const accuracy = detached.gt(0).to("float32").mul(weights).sum();
  return { loss, metrics: { accuracy, margin: detached.mul(weights).sum() } };
}
