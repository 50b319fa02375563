import { noGrad, type Tensor } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

/**
 * Computes the log-probability of each target under softmax(logits / temperature), in float32.
 * @param logits (tokens, vocab) @param targets (tokens) int64 @returns (tokens)
 */
export function logprobsOf(logits: Tensor, targets: Tensor, temperature = 1): Tensor {
  const fused = kernels.logprobs(logits, targets, temperature);
  if (fused) return fused.logprobs;
  const scaled = temperedLogits(logits, temperature);
  return scaled.gather(-1, targets.unsqueeze(-1)).squeeze(-1).sub(scaled.logsumexp(-1));
}

/**
 * Computes `logprobsOf`, and in the same pass over the logits, without gradients, two more statistics of each token.
 * @param logits (tokens, vocab) @param targets (tokens) int64
 * @returns each (tokens) float32: `logprobs` of the targets; `entropy` of the distribution in nats; `correct`: 1 where no
 * token is likelier than the target, else 0
 */
export function tokenStatistics(
  logits: Tensor,
  targets: Tensor,
  temperature = 1,
): { logprobs: Tensor; entropy: Tensor; correct: Tensor } {
  const fused = kernels.logprobs(logits, targets, temperature);
  if (fused) return fused;
  const logprobs = logprobsOf(logits, targets, temperature);
  return noGrad(() => {
    const chosen = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1);
    const correct = chosen.ge(logits.amax(-1)).to("float32");
    return { logprobs, entropy: entropyOf(logits, temperature), correct };
  });
}

/** Computes the entropy of softmax(logits / temperature) in nats: (…, vocab) → (…). */
export function entropyOf(logits: Tensor, temperature = 1): Tensor {
  const logp = temperedLogits(logits, temperature).logSoftmax(-1);
  return logp.exp().mul(logp).sum(-1).neg();
}

/** Logits / temperature, in float32 or float64. */
function temperedLogits(logits: Tensor, temperature: number): Tensor {
  const wide = logits.dtype === "float64" ? logits : logits.to("float32");
  return temperature === 1 ? wide : wide.div(temperature);
}
