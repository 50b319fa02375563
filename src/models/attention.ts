import { arange, cat, ops, type Tensor, zeros } from "../tensor/index.ts";

/**
 * Sequences laid end to end without padding: every layer but attention sees one long row of tokens, and attention
 * runs per sequence. So padding cannot leak, and nothing is computed for it.
 */
export interface Batch {
  /** (tokens) int64 */
  ids: Tensor;
  /** (tokens) int64: each token's place in its own sequence. */
  positions: Tensor;
  lengths: readonly number[];
}

/** Attention of one layer: q (tokens, heads, dim), k and v (tokens, kvHeads, dim) → (tokens, heads · dim). */
export type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

/** A mask (query, key) for scaled_dot_product_attention: 0 where a query sees a key, −∞ elsewhere. */
export function windowMask(length: number, window: number, like: Tensor): Tensor {
  const place = arange(length);
  const distance = place.unsqueeze(1).sub(place.unsqueeze(0));
  const hidden = ops.logical_or(distance.lt(0), distance.ge(window));
  return ops.masked_fill(zeros([length, length], like.dtype), hidden.toDevice(like.device), -Infinity);
}

/** Causal attention within each sequence of a packed batch; `window` limits how far back a token sees. */
export function packedAttention(lengths: readonly number[], window = Infinity): Attend {
  return (_layer, q, k, v) => {
    const heads = (x: Tensor) => x.split(lengths, 0).map((part) => part.transpose(0, 1).unsqueeze(0));
    const keys = heads(k);
    const values = heads(v);
    const outputs = heads(q).map((query, i) => {
      const length = lengths[i] as number;
      const limited = length > window;
      const out = ops.scaled_dot_product_attention(query, keys[i] as Tensor, values[i] as Tensor, {
        attn_mask: limited ? windowMask(length, window, q) : null,
        is_causal: !limited,
        enable_gqa: true,
      });
      return out.squeeze(0).transpose(0, 1).reshape(length, -1);
    });
    return outputs.length === 1 ? (outputs[0] as Tensor) : cat(outputs);
  };
}
