import { type Generator, ops, type Tensor, tensor, where } from "../tensor/index.ts";

export interface Sampling {
  /** Divides the logits, a (batch, 1) tensor each row by its own; 0 takes the likeliest token. */
  temperature: number | Tensor;
  /** Samples among this many likeliest tokens. Cut-offs break PPO's importance ratio: leave them out for training. */
  topK?: number | undefined;
  /** Samples among the likeliest tokens that together have this probability. */
  topP?: number | undefined;
}

/** Logits whose softmax is the distribution sampled from: (batch, vocab) → (batch, vocab) float32. */
export function warp(logits: Tensor, { temperature, topK, topP }: Sampling): Tensor {
  let warped = logits.to("float32");
  if (typeof temperature !== "number" || (temperature > 0 && temperature !== 1))
    warped = warped.div(temperature);
  if (topK !== undefined && topK < warped.size(-1)) {
    const [best] = ops.topk(warped, topK) as [Tensor, Tensor];
    warped = ops.masked_fill(warped, warped.lt(best.narrow(-1, topK - 1, 1)), -Infinity);
  }
  if (topP !== undefined && topP < 1) {
    const [sorted, order] = ops.sort(warped, { dim: -1, descending: true }) as [Tensor, Tensor];
    const p = sorted.softmax(-1);
    // A token goes when those before it have the probability already; the first stays always.
    const cut = p.cumsum(-1).sub(p).ge(topP);
    warped = ops.scatter(warped, -1, order, ops.masked_fill(sorted, cut, -Infinity));
  }
  return warped;
}

const chunk = 256;

/**
 * Draws one token a row by inverting the cumulative distribution, first over chunks of the vocabulary and then within
 * one: exact, and several times faster than `multinomial`, which draws a number for every token.
 * @param logits (batch, vocab) float32, as `warp` gives them @returns tokens (batch) int64 and their log-probs (batch)
 */
export function draw(
  logits: Tensor,
  temperature: Sampling["temperature"],
  generator: Generator,
): { tokens: Tensor; logprobs: Tensor } {
  const [rows, vocab] = [logits.size(0), logits.size(1)];
  const tokens = temperature === 0 ? logits.argmax(-1) : invert(logits.softmax(-1), rows, vocab, generator);
  const logprobs = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).sub(logits.logsumexp(-1));
  return { tokens, logprobs };
}

function invert(p: Tensor, rows: number, vocab: number, generator: Generator): Tensor {
  const chunks = Math.ceil(vocab / chunk);
  const padded = vocab === chunks * chunk ? p : ops.constant_pad_nd(p, [0, chunks * chunk - vocab]);
  const parts = padded.view(rows, chunks, chunk);
  const sums = parts.sum(-1);
  const upTo = sums.cumsum(-1);
  const u = ops.rand([rows, 1], { generator }).mul(upTo.narrow(-1, chunks - 1, 1));
  const which = find(upTo, u, sums);
  const before = upTo.gather(-1, which).sub(sums.gather(-1, which));
  const part = parts.gather(1, which.unsqueeze(-1).expand(rows, 1, chunk)).squeeze(1);
  const within = find(part.cumsum(-1), u.sub(before), part);
  return which.mul(chunk).add(within).squeeze(-1);
}

/** First place whose cumulative weight is over u; where rounding leads to a weight of 0, the heaviest instead. */
function find(upTo: Tensor, u: Tensor, weights: Tensor): Tensor {
  const found = ops.searchsorted(upTo, u, { right: true }).clamp(null, upTo.size(-1) - 1);
  return where(weights.gather(-1, found).gt(0), found, weights.argmax(-1).unsqueeze(-1));
}

/** Logits under which these tokens cannot be drawn. */
export const forbid = (logits: Tensor, tokens: readonly number[]): Tensor =>
  ops.index_fill(logits, 1, tensor(tokens, { dtype: "int64" }), -Infinity);
