import {
  type Attend,
  attentionKernels,
  branchKeyRanges,
  keyAlignment,
  keyBlock,
  packedAttention,
} from "../models/attention.ts";
import type { Model } from "../models/model.ts";
import { arange, keep, ops, scope, type Tensor, tensor, where, zeros } from "../tensor/index.ts";
import { cachedAttention } from "../tensor/kernels.ts";

const int32 = (values: readonly number[]): Tensor => tensor(values, { dtype: "int32" });
const upTo = (count: number, multiple: number): number => Math.ceil(count / multiple) * multiple;
const index = (values: readonly number[]): Tensor => tensor(values, { dtype: "int64" });

type Cached = Pick<Model, "dimensions" | "dtype" | "device">;

/**
 * Keys and values of every layer for sequences that grow together. Each has a row of its own that begins at 0 and knows
 * its length, so prompts of different lengths need no padding.
 */
export class KvCache {
  /** Tokens in each row in use, and of them the prompt's. */
  lengths: number[] = [];
  #prompts: number[] = [];
  /** Kernels of packed attention, which lay out keys and values in their own way; null elsewhere. */
  readonly #packed: ReturnType<typeof attentionKernels>;
  readonly #model: Cached;
  readonly #capacity: number;
  /** For each layer (rows, kvHeads, capacity, headDim); the rows in use come first. */
  readonly #keys: Tensor[];
  readonly #values: Tensor[];

  constructor(model: Cached, rows: number, capacity: number) {
    const { dimensions, dtype, device } = model;
    this.#model = model;
    this.#packed = attentionKernels(model);
    this.#capacity = this.#packed ? upTo(capacity + keyAlignment, keyBlock) : capacity;
    const make = () =>
      Array.from({ length: dimensions.layers }, () =>
        scope(() =>
          keep(zeros([rows, dimensions.kvHeads, this.#capacity, dimensions.headDim], dtype).toDevice(device)),
        ),
      );
    this.#keys = make();
    this.#values = make();
  }

  /** Attention over packed prompts of these lengths that also fills `samples` new rows with each. */
  prefill(prompts: readonly number[], samples = 1): Attend {
    const from: number[] = [];
    const to: [row: number, place: number][] = [];
    let start = 0;
    for (const length of prompts) {
      for (let sample = 0; sample < samples; sample++) {
        for (let i = 0; i < length; i++) {
          from.push(start + i);
          to.push([this.lengths.length, i]);
        }
        this.lengths.push(length);
        this.#prompts.push(length);
      }
      start += length;
    }
    const attend = packedAttention({ lengths: prompts }, this.#model);
    const packed = this.#packed;
    if (packed) {
      const [tokens, rows, places] = [from, to.map(([row]) => row), to.map(([, place]) => place)].map(int32);
      return (layer, q, k, v) => {
        packed.store(k, v, ...this.#of(layer), tokens as Tensor, rows as Tensor, places as Tensor);
        return attend(layer, q, k, v);
      };
    }
    const fromIndex = index(from);
    const store = this.#storeAt(to);
    return (layer, q, k, v) => {
      store(layer, k.indexSelect(0, fromIndex), v.indexSelect(0, fromIndex));
      return attend(layer, q, k, v);
    };
  }

  /** Attention of one new token a row, which is added to the row. */
  step(): Attend {
    const { kvHeads, headDim, window } = this.#model.dimensions;
    const rows = this.lengths.length;
    const before = this.lengths;
    this.lengths = before.map((length) => length + 1);
    const packed = this.#packed;
    if (packed) {
      // As packed attention lays out a prompt and the branch after it.
      const ranges = before.map((length, row) => {
        const prompt = this.#prompts[row] as number;
        return branchKeyRanges(0, prompt, upTo(prompt, keyAlignment), length - prompt, window);
      });
      const seen = int32(ranges.flat());
      const places = int32(ranges.map(([, , , end]) => end - 1));
      return (layer, q, k, v) =>
        packed.step(q, k, v, ...this.#of(layer), seen, places, 1 / Math.sqrt(headDim)).view(rows, -1);
    }
    const cached = cachedAttention(this.#model);
    if (cached) {
      const lengths = index(before);
      const back = Math.min(window, this.#capacity);
      return (layer, q, k, v) => {
        return cached(q, k, v, ...this.#of(layer), lengths, back, 1 / Math.sqrt(headDim));
      };
    }
    const store = this.#storeAt(before.map((length, row) => [row, length]));
    const longest = Math.max(...this.lengths);
    const lengths = index(this.lengths).unsqueeze(1);
    const place = arange(longest).unsqueeze(0);
    const seen = ops.logical_and(
      place.lt(lengths),
      place.ge(lengths.sub(Number.isFinite(window) ? window : longest)),
    );
    const mask = where(seen, zeros([]), Number.NEGATIVE_INFINITY).view(rows, 1, 1, longest);
    const past = (stored: Tensor) => stored.narrow(0, 0, rows).narrow(2, 0, longest);
    const attn_mask = mask.to(this.#model.dtype);
    return (layer, q, k, v) => {
      store(layer, k, v);
      // Heads that share keys stand where a query's tokens would: one product for the group.
      const grouped = q.reshape(rows, kvHeads, -1, headDim);
      const attended = ops.scaled_dot_product_attention(
        grouped,
        past(this.#keys[layer] as Tensor),
        past(this.#values[layer] as Tensor),
        { attn_mask },
      );
      return attended.reshape(rows, -1);
    };
  }

  #of(layer: number): [keys: Tensor, values: Tensor] {
    return [this.#keys[layer] as Tensor, this.#values[layer] as Tensor];
  }

  /** Writes keys and values, (tokens, kvHeads, headDim), to these places. */
  #storeAt(places: readonly [row: number, place: number][]): (layer: number, k: Tensor, v: Tensor) => void {
    const { kvHeads, headDim } = this.#model.dimensions;
    const heads = Array.from({ length: kvHeads }, (_, head) => head);
    const to = index(
      places.flatMap(([row, place]) => heads.map((head) => (row * kvHeads + head) * this.#capacity + place)),
    );
    const write = (stored: Tensor, from: Tensor) =>
      ops.index_copy_(stored.view(-1, headDim), 0, to, from.reshape(-1, headDim));
    return (layer, k, v) => {
      write(this.#keys[layer] as Tensor, k);
      write(this.#values[layer] as Tensor, v);
    };
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
        const byRow = stored.view(stored.size(0), -1);
        ops.index_copy_(byRow, 0, to, byRow.indexSelect(0, from));
      }
    }
    this.lengths = order.map((row) => this.lengths[row] as number);
    this.#prompts = order.map((row) => this.#prompts[row] as number);
    return order;
  }

  dispose(): void {
    for (const stored of [...this.#keys, ...this.#values]) stored.dispose();
  }
}
