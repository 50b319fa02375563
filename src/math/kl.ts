import type { Tensor } from "../tensor/index.ts";

export type KlEstimator = "k1" | "k2" | "k3" | "abs";

/**
 * Per-token estimate of KL(π‖π_ref) from the log-probs of tokens sampled from π (Schulman 2020, "Approximating KL
 * divergence"). k1 = d is unbiased and may be negative; k2 = d²/2 and k3 = e^−d − 1 + d never are; `abs` = |d|, where
 * d = log π − log π_ref. The exact one is `klFull`.
 */
export function klEstimate(estimator: KlEstimator, logprobs: Tensor, refLogprobs: Tensor): Tensor {
  const d = logprobs.sub(refLogprobs);
  switch (estimator) {
    case "k1":
      return d;
    case "k2":
      return d.square().mul(0.5);
    case "k3":
      return d.neg().exp().sub(1).add(d);
    case "abs":
      return d.abs();
  }
}

/** Exact KL(π‖π_ref) = Σ_v π (log π − log π_ref) in nats, from logits: (…, vocab) ×2 → (…). */
export function klFull(logits: Tensor, refLogits: Tensor): Tensor {
  const logp = logits.logSoftmax(-1);
  return logp
    .exp()
    .mul(logp.sub(refLogits.logSoftmax(-1)))
    .sum(-1);
}

/**
 * Next β of the adaptive controller of Ziegler et al. 2019, §2.2: grows when KL is over the target, by at most 20 %
 * of n / horizon a step. @param kl nats a response @param n responses in the step
 */
export function adaptKlCoef(beta: number, kl: number, target: number, n: number, horizon: number): number {
  const error = Math.min(0.2, Math.max(-0.2, kl / target - 1));
  return beta * (1 + (error * n) / horizon);
}
