import type { Tensor } from "../tensor/index.ts";

/**
 * Log-probability of each target under softmax(logits / temperature), in float32.
 * @param logits (tokens, vocab) @param targets (tokens) int64 @returns (tokens)
 */
export function logprobsOf(logits: Tensor, targets: Tensor, temperature = 1): Tensor {
  const scaled = tempered(logits, temperature);
  return scaled.gather(-1, targets.unsqueeze(-1)).squeeze(-1).sub(scaled.logsumexp(-1));
}

/** Entropy of softmax(logits / temperature) in nats: (…, vocab) → (…). */
export function entropyOf(logits: Tensor, temperature = 1): Tensor {
  const logp = tempered(logits, temperature).logSoftmax(-1);
  return logp.exp().mul(logp).sum(-1).neg();
}

function tempered(logits: Tensor, temperature: number): Tensor {
  const exact = logits.dtype === "float64" ? logits : logits.to("float32");
  return temperature === 1 ? exact : exact.div(temperature);
}
