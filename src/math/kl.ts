import { ops, type Tensor } from "../tensor/index.ts";

/** Estimators of KL from samples; see `klEstimate`. */
export type KlEstimator = "k1" | "k2" | "k3" | "abs";

/**
 * Estimates KL(π‖π_ref) for each token from log-probabilities of tokens sampled from π (Schulman 2020, "Approximating
 * KL divergence"). With d = log π − log π_ref: k1 = d is unbiased and may be negative; k2 = d²/2 and k3 = e^−d − 1 + d are
 * never negative; abs = |d|. k3 is not clipped: below d = −88 it is infinite in float32. `klFull` computes the exact value
 * from logits.
 * @param logprobs (batch, time) @param refLogprobs (batch, time) @returns (batch, time)
 */
export function klEstimate(estimator: KlEstimator, logprobs: Tensor, refLogprobs: Tensor): Tensor {
  const d = logprobs.sub(refLogprobs);
  switch (estimator) {
    case "k1":
      return d;
    case "k2":
      return d.square().mul(0.5);
    case "k3":
      // Near d = 0, e^−d − 1 would lose all digits; and expm1 may round to just below −d.
      return ops.expm1(d.neg()).add(d).clamp(0, null);
    case "abs":
      return d.abs();
  }
}

/** Computes the exact KL(π‖π_ref) = Σ_v π (log π − log π_ref) in nats, from logits: (…, vocab) ×2 → (…). */
export function klFull(logits: Tensor, refLogits: Tensor): Tensor {
  const logp = logits.logSoftmax(-1);
  return logp
    .exp()
    .mul(logp.sub(refLogits.logSoftmax(-1)))
    .sum(-1);
}

/**
 * Computes the next KL coefficient β of the adaptive controller of Ziegler et al. 2019, §2.2. It rises when the KL is
 * over the target and falls below it, by at most 20 % · n / horizon per step.
 * @param kl nats per response @param target nats per response @param n number of responses in the step
 * @param horizon number of responses
 */
export function adaptKlCoef(beta: number, kl: number, target: number, n: number, horizon: number): number {
  const error = Math.min(0.2, Math.max(-0.2, kl / target - 1));
  return beta * (1 + (error * n) / horizon);
}
