import { cat, ops, type Tensor, tensor } from "../tensor/index.ts";

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
  /**
   * For each sequence the lengths of the branches at its end, none for a plain one: every branch follows what stands
   * before the first, and sees none of the others.
   */
  branches?: readonly (readonly number[])[];
}

/** Attention of one layer: q (tokens, heads, dim), k and v (tokens, kvHeads, dim) → (tokens, heads · dim). */
export type Attend = (layer: number, q: Tensor, k: Tensor, v: Tensor) => Tensor;

/** A mask (query, key) for scaled_dot_product_attention: 0 where a query sees a key, −∞ elsewhere. */
function maskOf(length: number, branches: readonly number[], window: number): Tensor {
  const prefix = length - branches.reduce((a, b) => a + b, 0);
  const branch = [
    ...new Array<number>(prefix).fill(-1),
    ...branches.flatMap((size, i) => new Array<number>(size).fill(i)),
  ];
  const position = branch.map((_, i) => i);
  let start = prefix;
  for (const size of branches) {
    for (let i = 0; i < size; i++) position[start + i] = prefix + i;
    start += size;
  }
  const mask = new Float32Array(length * length).fill(-Infinity);
  for (let query = 0; query < length; query++)
    for (let key = 0; key <= query; key++) {
      const near = (position[query] as number) - (position[key] as number) < window;
      if (near && (branch[key] === -1 || branch[key] === branch[query])) mask[query * length + key] = 0;
    }
  return tensor(mask, { shape: [length, length] });
}

/** Up to here float32 attention is faster: libtorch's bfloat16 backward on the CPU takes twice the time at 60 tokens. */
const shortSequence = 256;

/** Causal attention within each sequence of a packed batch; `window` limits how far back a token sees. */
export function packedAttention(
  { lengths, branches = [] }: Pick<Batch, "lengths" | "branches">,
  window = Infinity,
): Attend {
  const short = Math.max(...lengths) <= shortSequence;
  const masks = lengths.map((length, i) => {
    const of = branches[i] ?? [];
    return of.length || length > window ? maskOf(length, of, window) : null;
  });
  return (_layer, q, k, v) => {
    const exact = short && q.device === "cpu";
    const heads = (x: Tensor) =>
      (exact ? x.to("float32") : x).split(lengths, 0).map((part) => part.transpose(0, 1).unsqueeze(0));
    const keys = heads(k);
    const values = heads(v);
    const queries = heads(q);
    const outputs = queries.map((query, i) => {
      const attn_mask = masks[i]?.to(query.dtype).toDevice(query.device) ?? null;
      const options = { attn_mask, is_causal: attn_mask === null, enable_gqa: true };
      const out = ops.scaled_dot_product_attention(query, keys[i] as Tensor, values[i] as Tensor, options);
      return out
        .squeeze(0)
        .transpose(0, 1)
        .reshape(lengths[i] as number, -1);
    });
    return (outputs.length === 1 ? (outputs[0] as Tensor) : cat(outputs)).to(q.dtype);
  };
}
