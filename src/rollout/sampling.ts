import { ops, type Rng, type Tensor, tensor, where } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

export interface Sampling {
  /** Divides the logits, a (batch, 1) tensor each row by its own; 0 takes the likeliest token. */
  temperature: number | Tensor;
  /** Samples among this many likeliest tokens. Cut-offs break PPO's importance ratio: leave them out for training. */
  topK?: number | undefined;
  /** Samples among the likeliest tokens that together have this probability. */
  topP?: number | undefined;
}

/** Logits (batch, vocab) with −∞ for tokens that the cut-offs leave out. */
export function filterLogits(logits: Tensor, { temperature, topK, topP }: Sampling): Tensor {
  let left = logits;
  if (topK !== undefined && topK < left.size(-1)) {
    const [best] = ops.topk(left, topK) as [Tensor, Tensor];
    left = ops.masked_fill(left, left.lt(best.narrow(-1, topK - 1, 1)), -Infinity);
  }
  if (topP !== undefined && topP < 1) {
    const [sorted, order] = ops.sort(left, { dim: -1, descending: true }) as [Tensor, Tensor];
    const p = sorted
      .to("float32")
      .div(temperature === 0 ? 1 : temperature)
      .softmax(-1);
    // A token goes when those before it have the probability already; the first stays always.
    const over = p.cumsum(-1).sub(p).ge(topP);
    left = ops.scatter(left, -1, order, ops.masked_fill(sorted, over, -Infinity));
  }
  return left;
}

type Draw = (logits: Tensor, places: Tensor, temperatures: Tensor) => [tokens: Tensor, logprobs: Tensor];

/** Inverts the cumulative distribution at `places` (batch, 1), float64 in [0, 1). */
export const sampleTokensUnfused: Draw = (logits, places, temperatures) => {
  const scaled = logits.to("float64").div(temperatures);
  const p = scaled.softmax(-1);
  const last = p.size(-1) - 1;
  const upTo = p.cumsum(-1);
  const found = ops
    .searchsorted(upTo, places.mul(upTo.narrow(-1, last, 1)), { right: true })
    .clamp(null, last);
  // Where rounding leads past the end, that token may have no weight.
  const tokens = where(p.gather(-1, found).gt(0), found, p.argmax(-1).unsqueeze(-1));
  return [tokens.squeeze(-1), logprobsAt(scaled, tokens).to("float32")];
};

const logprobsAt = (logits: Tensor, tokens: Tensor): Tensor =>
  logits.gather(-1, tokens).squeeze(-1).sub(logits.logsumexp(-1));

/**
 * Draws one token a row from softmax(logits / temperature), exactly.
 * @param logits (batch, vocab) @returns tokens (batch) int64, and their log-probs (batch) float32, of the greedy ones at
 * temperature 1
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
  // In float64: float32 would never draw what is rarer than 2⁻²⁴.
  const places = ops.rand([logits.size(0), 1], { generator, dtype: "float64" }).toDevice(logits.device);
  const [tokens, logprobs] =
    kernels.draw(logits, places, temperatures) ?? sampleTokensUnfused(logits, places, temperatures);
  return { tokens, logprobs };
}

/** Logits (batch, vocab) under which these rows cannot draw these tokens. */
export function maskTokens(logits: Tensor, rows: readonly number[], tokens: readonly number[]): Tensor {
  const vocab = logits.size(1);
  const places = rows.flatMap((row) => tokens.map((token) => row * vocab + token));
  if (!places.length) return logits;
  return ops.index_fill(logits.view(-1), 0, tensor(places, { dtype: "int64" }), -Infinity).view(-1, vocab);
}
