import type { Dimensions } from "../models/architecture.ts";
import { type Attend, packedAttention } from "../models/attention.ts";
import { arange, type DType, keep, ops, scope, type Tensor, tensor, where, zeros } from "../tensor/index.ts";

const index = (values: readonly number[]): Tensor => tensor(values, { dtype: "int64" });

/**
 * Keys and values of every layer for sequences that grow together. Each has a row of its own that begins at 0 and knows
 * its length, so prompts of different lengths need no padding.
 */
export class KvCache {
  /** Tokens in each row. */
  lengths: number[];
  readonly #dimensions: Dimensions;
  readonly #capacity: number;
  /** For each layer (rows · capacity, kvHeads · headDim). */
  #keys: Tensor[];
  #values: Tensor[];

  constructor(dimensions: Dimensions, dtype: DType, device: string, rows: number, capacity: number) {
    this.#dimensions = dimensions;
    this.#capacity = capacity;
    this.lengths = new Array(rows).fill(0);
    const make = () =>
      Array.from({ length: dimensions.layers }, () =>
        scope(() =>
          keep(zeros([rows * capacity, dimensions.kvHeads * dimensions.headDim], dtype).toDevice(device)),
        ),
      );
    this.#keys = make();
    this.#values = make();
  }

  /** Attention over packed prompts that also fills the rows; row i begins with prompt `source[i]`. */
  prefill(prompts: readonly number[], source: readonly number[]): Attend {
    const starts = [0];
    for (const length of prompts) starts.push((starts.at(-1) as number) + length);
    const from: number[] = [];
    const to: number[] = [];
    source.forEach((prompt, row) => {
      const length = prompts[prompt] as number;
      for (let i = 0; i < length; i++) {
        from.push((starts[prompt] as number) + i);
        to.push(row * this.#capacity + i);
      }
      this.lengths[row] = length;
    });
    const [fromIndex, toIndex] = [index(from), index(to)];
    const attend = packedAttention({ lengths: prompts }, this.#dimensions.window);
    return (layer, q, k, v) => {
      this.#store(
        layer,
        toIndex,
        k.reshape(k.size(0), -1).indexSelect(0, fromIndex),
        v.reshape(v.size(0), -1).indexSelect(0, fromIndex),
      );
      return attend(layer, q, k, v);
    };
  }

  /** Attention of one new token a row, which is added to the row. */
  step(): Attend {
    const { kvHeads, headDim, window } = this.#dimensions;
    const rows = this.lengths.length;
    const to = index(this.lengths.map((length, row) => row * this.#capacity + length));
    this.lengths = this.lengths.map((length) => length + 1);
    const longest = Math.max(...this.lengths);
    const lengths = index(this.lengths).unsqueeze(1);
    const place = arange(longest).unsqueeze(0);
    const seen = ops.logical_and(
      place.lt(lengths),
      place.ge(lengths.sub(Number.isFinite(window) ? window : longest)),
    );
    const mask = where(seen, zeros([]), Number.NEGATIVE_INFINITY).view(rows, 1, 1, longest);
    const past = (stored: Tensor) =>
      stored.view(rows, this.#capacity, kvHeads, headDim).narrow(1, 0, longest).transpose(1, 2);
    const typed = mask.to((this.#keys[0] as Tensor).dtype);
    return (layer, q, k, v) => {
      this.#store(layer, to, k.reshape(rows, -1), v.reshape(rows, -1));
      // Heads that share keys stand where a query's tokens would: one product for the group.
      const grouped = q.reshape(rows, kvHeads, -1, headDim);
      const attended = ops.scaled_dot_product_attention(
        grouped,
        past(this.#keys[layer] as Tensor),
        past(this.#values[layer] as Tensor),
        {
          attn_mask: typed,
        },
      );
      return attended.reshape(rows, -1);
    };
  }

  #store(layer: number, to: Tensor, keys: Tensor, values: Tensor): void {
    ops.index_copy_(this.#keys[layer] as Tensor, 0, to, keys);
    ops.index_copy_(this.#values[layer] as Tensor, 0, to, values);
  }

  /** Drops every other row. */
  keepRows(rows: readonly number[]): void {
    const kept = index(rows);
    const select = (stored: Tensor): Tensor => {
      const width = stored.size(1);
      const fewer = keep(
        stored
          .view(this.lengths.length, -1)
          .indexSelect(0, kept)
          .view(rows.length * this.#capacity, width),
      );
      stored.dispose();
      return fewer;
    };
    this.#keys = this.#keys.map(select);
    this.#values = this.#values.map(select);
    this.lengths = rows.map((row) => this.lengths[row] as number);
  }

  dispose(): void {
    for (const stored of [...this.#keys, ...this.#values]) stored.dispose();
  }
}
