import type { Tensor } from "../../tensor/index.ts";

/**
 * Computes PPO's clipped surrogate (Schulman et al. 2017, eq. 7), negated: Σ max(−A·ρ, −A·clip(ρ, 1 ± clipRange)) / count
 * with ρ = π/π_old. `approxKl` is ½(log ρ)², the second-order estimate of KL(π_old‖π).
 * @param logprobs, oldLogprobs (batch, time): log π and log π_old of each response token
 * @param advantages (batch, time)
 * @param responseMask (batch, time): 1 for a response token, 0 for padding
 * @param count response tokens of the whole mini-batch, of which this may be a part
 */
export function policyLoss(
  logprobs: Tensor,
  oldLogprobs: Tensor,
  advantages: Tensor,
  responseMask: Tensor,
  clipRange: number,
  count: number,
): { loss: Tensor; metrics: { approxKl: Tensor; clipFraction: Tensor; ratio: Tensor; ratioSquare: Tensor } } {
  const share = (values: Tensor) => values.mul(responseMask).sum().div(count);
  const logRatio = logprobs.sub(oldLogprobs).mul(responseMask);
  const ratio = logRatio.exp();
  const plain = advantages.neg().mul(ratio);
  const clipped = advantages.neg().mul(ratio.clamp(1 - clipRange, 1 + clipRange));
  const detached = ratio.detach();
  return {
    loss: share(plain.maximum(clipped)),
    metrics: {
      approxKl: share(logRatio.detach().square()).mul(0.5),
      clipFraction: share(clipped.gt(plain).to("float32")),
      ratio: share(detached),
      ratioSquare: share(detached.square()),
    },
  };
}

/**
 * Computes the value loss, with new values clipped to within `clipRange` of the old ones:
 * ½ Σ max((V − R)², (V_clip − R)²) / count.
 * @param values, oldValues, returns (batch, time)
 * @param responseMask (batch, time): 1 for a response token, 0 for padding
 * @param count response tokens of the whole mini-batch, of which this may be a part
 */
export function valueLoss(
  values: Tensor,
  oldValues: Tensor,
  returns: Tensor,
  responseMask: Tensor,
  clipRange: number,
  count: number,
): { loss: Tensor; metrics: { clipFraction: Tensor } } {
  const share = (x: Tensor) => x.mul(responseMask).sum().div(count);
  const clippedValues = values.maximum(oldValues.sub(clipRange)).minimum(oldValues.add(clipRange));
  const plain = values.sub(returns).square();
  const clipped = clippedValues.sub(returns).square();
  return {
    loss: share(plain.maximum(clipped)).mul(0.5),
    metrics: { clipFraction: share(clipped.gt(plain).to("float32")) },
  };
}
