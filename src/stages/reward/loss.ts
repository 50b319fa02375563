import type { Tensor } from "../../tensor/index.ts";

/**
 * Bradley–Terry loss of rankings (Ouyang et al. 2022, eq. 1): −Σ w log σ(r_better − r_worse − margin).
 * @param scores (completions) @param better, worse (pairs) int64 places in `scores`
 * @param weights (pairs): 1 / pairs of the prompt / prompts gives each prompt the same say
 * @param margins (pairs), 0 for none
 */
export function rankingLoss(
  scores: Tensor,
  better: Tensor,
  worse: Tensor,
  weights: Tensor,
  margins: Tensor,
): { loss: Tensor; metrics: { accuracy: Tensor; margin: Tensor } } {
  const won = scores.indexSelect(0, better).sub(scores.indexSelect(0, worse));
  const loss = won.sub(margins).logSigmoid().mul(weights).sum().neg();
  const seen = won.detach();
  const accuracy = seen.gt(0).to("float32").mul(weights).sum();
  return { loss, metrics: { accuracy, margin: seen.mul(weights).sum() } };
}
