import type { Tensor } from "../tensor/index.ts";

// A mask has 1 where a value counts and 0 elsewhere, in float32, and the shape of the values.

/** Mean of the values that count, a scalar. 0/0 = NaN when none does. */
export function maskedMean(values: Tensor, mask: Tensor): Tensor {
  return values.mul(mask).sum().div(mask.sum());
}

/** Biased variance of the values that count, a scalar. */
export function maskedVariance(values: Tensor, mask: Tensor): Tensor {
  return maskedMean(values.sub(maskedMean(values, mask)).square(), mask);
}

/**
 * Whitens to mean 0 (or, without `shiftMean`, the mean it had) and variance 1 over what counts: biased variance,
 * 1e-8 inside the root, as in OpenAI's lm-human-preferences. What does not count becomes 0.
 */
export function whiten(values: Tensor, mask: Tensor, options: { shiftMean?: boolean } = {}): Tensor {
  const mean = maskedMean(values, mask);
  const whitened = values.sub(mean).mul(maskedVariance(values, mask).add(1e-8).rsqrt());
  return (options.shiftMean === false ? whitened.add(mean) : whitened).mul(mask);
}

/** 1 − Var(returns − values) / Var(returns): 1 for a perfect critic, 0 for one that says the same always. */
export function explainedVariance(values: Tensor, returns: Tensor, mask: Tensor): Tensor {
  return maskedVariance(returns.sub(values), mask).div(maskedVariance(returns, mask)).neg().add(1);
}
