import type { Tensor } from "../tensor/index.ts";

// A mask is float32 of the values' shape: 1 where a value counts, 0 elsewhere.

/** Computes the mean of the values where the mask is 1: a scalar, NaN when the mask is all 0. */
export function maskedMean(values: Tensor, mask: Tensor): Tensor {
  return values.mul(mask).sum().div(mask.sum());
}

/** Computes the biased variance of the values where the mask is 1: a scalar. */
export function maskedVariance(values: Tensor, mask: Tensor): Tensor {
  return maskedMean(values.sub(maskedMean(values, mask)).square(), mask);
}

/**
 * Whitens the values where the mask is 1 to mean 0 and variance 1; elsewhere the result is 0. Uses the biased variance,
 * with 1e-8 inside the root, as OpenAI's lm-human-preferences does.
 * @param options `shiftMean`: false keeps the mean. Default: true
 */
export function whiten(values: Tensor, mask: Tensor, options: { shiftMean?: boolean } = {}): Tensor {
  const mean = maskedMean(values, mask);
  const whitened = values.sub(mean).mul(maskedVariance(values, mask).add(1e-8).rsqrt());
  return (options.shiftMean === false ? whitened.add(mean) : whitened).mul(mask);
}

/** Computes the explained variance, 1 − Var(returns − values) / Var(returns): 1 for a perfect critic, 0 for a constant one. */
export function explainedVariance(values: Tensor, returns: Tensor, mask: Tensor): Tensor {
  return maskedVariance(returns.sub(values), mask).div(maskedVariance(returns, mask)).neg().add(1);
}
