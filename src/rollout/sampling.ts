import { ops, type Rng, type Tensor, tensor, where } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

export interface Sampling {
  /** Divides the logits; a (batch, 1) tensor has one for each row. 0 takes the likeliest token. */
  temperature: number | Tensor;
  /** Samples among this many likeliest tokens. Cut-offs break PPO's importance ratio: leave them out for training. */
  topK?: number | undefined;
  /** Samples among the likeliest tokens that together have this probability. */
  topP?: number | undefined;
}

/**
 * Sets logits of tokens outside top-k and top-p to −∞.
 * @param logits (batch, vocab) @returns (batch, vocab)
 */
export function filterLogits(logits: Tensor, { temperature, topK, topP }: Sampling): Tensor {
  let filtered = logits;
  if (topK !== undefined && topK < filtered.size(-1)) {
    const [best] = ops.topk(filtered, topK) as [Tensor, Tensor];
    filtered = ops.masked_fill(filtered, filtered.lt(best.narrow(-1, topK - 1, 1)), -Infinity);
  }
  if (topP !== undefined && topP < 1) {
    const [sorted, order] = ops.sort(filtered, { dim: -1, descending: true }) as [Tensor, Tensor];
    const p = sorted
      .to("float32")
      .div(temperature === 0 ? 1 : temperature)
      .softmax(-1);
    // A token is left out when the likelier ones reach topP without it; the likeliest always stays.
    const isOutside = p.cumsum(-1).sub(p).ge(topP);
    filtered = ops.scatter(filtered, -1, order, ops.masked_fill(sorted, isOutside, -Infinity));
  }
  return filtered;
}

/** logits (batch, vocab), uniforms (batch, 1) float64 in [0, 1), temperatures (batch, 1) → (batch) and (batch). */
type SampleFromUniforms = (
  logits: Tensor,
  uniforms: Tensor,
  temperatures: Tensor,
) => [tokens: Tensor, logprobs: Tensor];

/** Samples tokens by inverting the cumulative distribution at uniform random numbers, with libtorch's operators. */
export const sampleTokensUnfused: SampleFromUniforms = (logits, uniforms, temperatures) => {
  const scaled = logits.to("float64").div(temperatures);
  const p = scaled.softmax(-1);
  const last = p.size(-1) - 1;
  const cumulative = p.cumsum(-1);
  const candidates = ops
    .searchsorted(cumulative, uniforms.mul(cumulative.narrow(-1, last, 1)), { right: true })
    .clamp(null, last);
  // Rounding may lead to a token of probability 0 at the end: then take the likeliest.
  const tokens = where(p.gather(-1, candidates).gt(0), candidates, p.argmax(-1).unsqueeze(-1));
  return [tokens.squeeze(-1), logprobsAt(scaled, tokens).to("float32")];
};

const logprobsAt = (logits: Tensor, tokens: Tensor): Tensor =>
  logits.gather(-1, tokens).squeeze(-1).sub(logits.logsumexp(-1));

/**
 * Samples one token for each row from softmax(logits / temperature).
 * @param logits (batch, vocab)
 * @returns `tokens`: (batch) int64; `logprobs`: (batch) float32, under the distribution that was sampled from (at
 * temperature 0 under that of temperature 1)
 */
export function sampleTokens(
  logits: Tensor,
  temperature: Sampling["temperature"],
  generator: Rng,
): { tokens: Tensor; logprobs: Tensor } {
  if (temperature === 0) {
    const tokens = logits.argmax(-1);
    return { tokens, logprobs: logprobsAt(logits.to("float32"), tokens.unsqueeze(-1)) };
  }
  const temperatures = (
    typeof temperature === "number" ? tensor([temperature], { shape: [1, 1] }) : temperature
  ).toDevice(logits.device);
  // In float64: with float32 uniforms no token rarer than 2⁻²⁴ would be sampled.
  const uniforms = ops.rand([logits.size(0), 1], { generator, dtype: "float64" }).toDevice(logits.device);
  const [tokens, logprobs] =
    kernels.draw(logits, uniforms, temperatures) ?? sampleTokensUnfused(logits, uniforms, temperatures);
  return { tokens, logprobs };
}

/** Sets the logits of `tokens` in `rows` to −∞: (batch, vocab) → (batch, vocab). */
export function maskTokens(logits: Tensor, rows: readonly number[], tokens: readonly number[]): Tensor {
  const vocab = logits.size(1);
  const indices = rows.flatMap((row) => tokens.map((token) => row * vocab + token));
  if (!indices.length) return logits;
  return ops.index_fill(logits.view(-1), 0, tensor(indices, { dtype: "int64" }), -Infinity).view(-1, vocab);
}
