import { klEstimate } from "../../math/index.ts";
import type { Tensor } from "../../tensor/index.ts";

/** Log-probabilities of response tokens, (batch, time) each. */
export interface Logprobs {
  policy: Tensor;
  /** Under the policy that sampled the tokens. */
  old: Tensor;
  reference: Tensor;
}

export interface GradientOptions {
  ratio: "token" | "sequenceMean" | "sequence";
  clipLow: number;
  clipHigh: number;
  klCoef: number;
}

/**
 * Computes the clipped policy-gradient loss with one advantage a response: Σ w (−min(ρA, clip(ρ, 1 − low, 1 + high) A) + β·k3).
 * ρ = π/π_old of each token (Shao et al. 2024, eq. 3; apart clips: Yu et al. 2025, eq. 10), of a response as the
 * geometric mean of its tokens' (Zheng et al. 2025, eq. 7), or of a response as a whole (Ahmadian et al. 2024).
 * @param mask (batch, time): 1 for a response token, 0 for padding
 * @param advantages (batch)
 * @param weights (batch, time), from `tokenWeights`
 */
export function policyGradientLoss(
  { policy, old, reference }: Logprobs,
  mask: Tensor,
  advantages: Tensor,
  weights: Tensor,
  { ratio: kind, clipLow, clipHigh, klCoef }: GradientOptions,
): { loss: Tensor; metrics: Record<string, Tensor> } {
  const sum = (values: Tensor) => values.mul(weights).sum();
  const logRatio = policy.sub(old).mul(mask);
  const whole = logRatio.sum(1, true);
  const ratio = {
    token: logRatio,
    sequenceMean: whole.div(mask.sum(1, true).clamp(1, null)),
    sequence: whole,
  }[kind].exp();
  const better = advantages.unsqueeze(1);
  const plain = ratio.mul(better);
  const clipped = ratio.clamp(1 - clipLow, 1 + clipHigh).mul(better);
  const gain = sum(plain.minimum(clipped));
  const kl = sum(klEstimate("k3", policy, reference).mul(mask));
  const cut = sum(clipped.lt(plain).to(policy.dtype));
  return {
    loss: klCoef ? kl.mul(klCoef).sub(gain) : gain.neg(),
    metrics: {
      clipFraction: cut.detach(),
      ratio: sum(ratio.detach()),
      approxKl: sum(logRatio.detach().square()).mul(0.5),
    },
  };
}

/**
 * Computes the weight of each response's tokens in a mini-batch. Weights sum to 1; with `constant` to the mean share of
 * `maxTokens` that the responses take.
 * @param counted tokens of each response that are learned from; 0 for a masked response
 */
export function tokenWeights(
  counted: readonly number[],
  length: "response" | "batch" | "constant",
  maxTokens: number,
): number[] {
  const total = counted.reduce((a, b) => a + b, 0);
  const divisor = {
    response: (tokens: number) => tokens * counted.length,
    batch: () => total,
    constant: () => counted.length * maxTokens,
  }[length];
  return counted.map((tokens) => (tokens ? 1 / divisor(tokens) : 0));
}
