import type { Dimensions } from "../models/architecture.ts";
import { type Attend, packedAttention } from "../models/attention.ts";
import { arange, type DType, keep, ops, scope, type Tensor, tensor, where, zeros } from "../tensor/index.ts";

const index = (values: readonly number[]): Tensor => tensor(values, { dtype: "int64" });

/**
 * Keys and values of every layer for sequences that grow together. Each has a row of its own that begins at 0 and knows
 * its length, so prompts of different lengths need no padding.
 */
export class KvCache {
  /** Tokens in each row in use. */
  lengths: number[];
  readonly #dimensions: Dimensions;
  readonly #capacity: number;
  /** For each layer (rows · capacity, kvHeads · headDim); the rows in use come first. */
  readonly #keys: Tensor[];
  readonly #values: Tensor[];

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

  /** Attention over packed prompts of these lengths that also fills rows: `rows[i]` begin with prompt i. */
  prefill(prompts: readonly number[], rows: readonly (readonly number[])[]): Attend {
    const from: number[] = [];
    const to: number[] = [];
    let start = 0;
    for (const [prompt, length] of prompts.entries()) {
      for (const row of rows[prompt] ?? []) {
        for (let i = 0; i < length; i++) {
          from.push(start + i);
          to.push(row * this.#capacity + i);
        }
        this.lengths[row] = length;
      }
      start += length;
    }
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
      stored
        .view(-1, this.#capacity, kvHeads, headDim)
        .narrow(0, 0, rows)
        .narrow(1, 0, longest)
        .transpose(1, 2);
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

  /**
   * Drops every other row. The last rows move into the gaps, since copying all of them would cost more than a step.
   * @returns which row is now in each place
   */
  keepRows(rows: readonly number[]): number[] {
    const kept = new Set(rows);
    const moved = rows.filter((row) => row >= rows.length);
    const order = rows.map((_, place) => (kept.has(place) ? place : (moved.pop() as number)));
    const gaps = order.flatMap((row, place) => (row === place ? [] : [place]));
    if (gaps.length) {
      const from = index(gaps.map((place) => order[place] as number));
      const to = index(gaps);
      for (const stored of [...this.#keys, ...this.#values]) {
        const byRow = stored.view(-1, this.#capacity * stored.size(1));
        ops.index_copy_(byRow, 0, to, byRow.indexSelect(0, from));
      }
    }
    this.lengths = order.map((row) => this.lengths[row] as number);
    return order;
  }

  dispose(): void {
    for (const stored of [...this.#keys, ...this.#values]) stored.dispose();
  }
}
