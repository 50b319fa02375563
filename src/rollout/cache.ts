import {
  type Attend,
  attentionKernels,
  keyAlignment,
  keyBlock,
  type Packing,
  packedAttention,
  visibleKeys,
} from "../models/attention.ts";
import type { Model } from "../models/model.ts";
import { arange, keep, ops, scope, type Tensor, tensor, where, zeros } from "../tensor/index.ts";
import { cachedAttention } from "../tensor/kernels.ts";

const int32 = (values: readonly number[]): Tensor => tensor(values, { dtype: "int32" });
const roundUp = (count: number, multiple: number): number => Math.ceil(count / multiple) * multiple;
const int64 = (values: readonly number[]): Tensor => tensor(values, { dtype: "int64" });

/** What the cache reads of a model. */
type CacheModel = Pick<Model, "dimensions" | "dtype" | "device">;

/**
 * Key-value cache of all layers for sequences that are decoded together. Each sequence has a row and a length, so
 * prompts of different lengths need no padding.
 */
export class KvCache {
  /** Number of tokens in each row in use. */
  lengths: number[] = [];
  /** Number of the prompt's tokens in each row in use. */
  #promptLengths: number[] = [];
  /** Kernels of packed attention, which have their own layout of keys and values; null where there are none. */
  readonly #kernels: ReturnType<typeof attentionKernels>;
  readonly #model: CacheModel;
  readonly #capacity: number;
  /** Keys of each layer, (rows, kvHeads, capacity, headDim); the rows in use come first. */
  readonly #keys: Tensor[];
  readonly #values: Tensor[];

  /** @param rows sequences decoded together @param capacity most tokens of a sequence */
  constructor(model: CacheModel, rows: number, capacity: number) {
    const { dimensions, dtype, device } = model;
    this.#model = model;
    this.#kernels = attentionKernels(model);
    this.#capacity = this.#kernels ? roundUp(capacity + keyAlignment, keyBlock) : capacity;
    const zerosByLayer = () =>
      Array.from({ length: dimensions.layers }, () =>
        scope(() =>
          keep(zeros([rows, dimensions.kvHeads, this.#capacity, dimensions.headDim], dtype).toDevice(device)),
        ),
      );
    this.#keys = zerosByLayer();
    this.#values = zerosByLayer();
  }

  /**
   * Adds `samples` rows for each prompt. @returns attention over the packed prompts, which also writes their keys and
   * values to the new rows
   * @param packing prefix and lengths of the packed prompts
   */
  prefill(packing: Pick<Packing, "prefix" | "lengths">, samples = 1): Attend {
    const { prefix = 0, lengths } = packing;
    const sources: number[] = []; // packed index of each token to store
    const targets: [row: number, position: number][] = [];
    let skipped = 0; // tokens of earlier prompts
    for (const length of lengths) {
      for (let sample = 0; sample < samples; sample++) {
        for (let i = 0; i < prefix + length; i++) {
          sources.push(i < prefix ? i : skipped + i);
          targets.push([this.lengths.length, i]);
        }
        this.lengths.push(prefix + length);
        this.#promptLengths.push(prefix + length);
      }
      skipped += length;
    }
    const attend = packedAttention(packing, this.#model);
    const kernels = this.#kernels;
    if (kernels) {
      const [tokens, rows, positions] = [
        sources,
        targets.map(([row]) => row),
        targets.map(([, position]) => position),
      ].map(int32);
      return (layer, q, k, v) => {
        kernels.store(k, v, ...this.#stored(layer), tokens as Tensor, rows as Tensor, positions as Tensor);
        return attend(layer, q, k, v);
      };
    }
    const sourceIndex = int64(sources);
    const store = this.#storeAt(targets);
    return (layer, q, k, v) => {
      store(layer, k.indexSelect(0, sourceIndex), v.indexSelect(0, sourceIndex));
      return attend(layer, q, k, v);
    };
  }

  /** Adds a token to each row. @returns attention of the new tokens, which also writes their keys and values */
  step(): Attend {
    const { kvHeads, headDim, window } = this.#model.dimensions;
    const rows = this.lengths.length;
    const before = this.lengths;
    this.lengths = before.map((length) => length + 1);
    const kernels = this.#kernels;
    if (kernels) {
      // The layout of packed attention: a prompt, and the response as its branch.
      const segments = before.map((position, row) => {
        const length = this.#promptLengths[row] as number;
        const key = roundUp(length, keyAlignment);
        const response = { position: length, length: position + 1 - length, key };
        return { position, prompt: { position: 0, length, key: 0 }, response };
      });
      const keyRanges = int32(
        segments.flatMap(({ position, prompt, response }) =>
          visibleKeys(position, window, [prompt, response]),
        ),
      );
      const positions = int32(segments.map(({ response }) => response.key + response.length - 1));
      const scale = 1 / Math.sqrt(headDim);
      const attend: Attend = (layer, q, k, v) =>
        kernels.step(q, k, v, ...this.#stored(layer), keyRanges, positions, scale).view(rows, -1);
      attend.cache = (layer) => {
        const [keys, values] = this.#stored(layer);
        return { keys, values, keyRanges, positions, scale };
      };
      return attend;
    }
    const cached = cachedAttention(this.#model);
    if (cached) {
      const lengths = int64(before);
      const reach = Math.min(window, this.#capacity);
      return (layer, q, k, v) => {
        return cached(q, k, v, ...this.#stored(layer), lengths, reach, 1 / Math.sqrt(headDim));
      };
    }
    const store = this.#storeAt(before.map((length, row) => [row, length]));
    const longest = Math.max(...this.lengths);
    const lengths = int64(this.lengths).unsqueeze(1);
    const position = arange(longest).unsqueeze(0);
    const isVisible = ops.logical_and(
      position.lt(lengths),
      position.ge(lengths.sub(Number.isFinite(window) ? window : longest)),
    );
    const mask = where(isVisible, zeros([]), Number.NEGATIVE_INFINITY).view(rows, 1, 1, longest);
    const inUse = (stored: Tensor) => stored.narrow(0, 0, rows).narrow(2, 0, longest);
    const attn_mask = mask.to(this.#model.dtype);
    return (layer, q, k, v) => {
      store(layer, k, v);
      // Query heads that share a key head take the place of query tokens, so that the group is one product.
      const grouped = q.reshape(rows, kvHeads, -1, headDim);
      const attended = ops.scaled_dot_product_attention(
        grouped,
        inUse(this.#keys[layer] as Tensor),
        inUse(this.#values[layer] as Tensor),
        { attn_mask },
      );
      return attended.reshape(rows, -1);
    };
  }

  /** Keys and values of a layer, (rows, kvHeads, capacity, headDim). */
  #stored(layer: number): [keys: Tensor, values: Tensor] {
    return [this.#keys[layer] as Tensor, this.#values[layer] as Tensor];
  }

  /** Makes a function that writes a layer's keys and values, (tokens, kvHeads, headDim), to these rows and positions. */
  #storeAt(
    targets: readonly [row: number, position: number][],
  ): (layer: number, k: Tensor, v: Tensor) => void {
    const { kvHeads, headDim } = this.#model.dimensions;
    const heads = Array.from({ length: kvHeads }, (_, head) => head);
    const indices = int64(
      targets.flatMap(([row, position]) =>
        heads.map((head) => (row * kvHeads + head) * this.#capacity + position),
      ),
    );
    const write = (stored: Tensor, from: Tensor) =>
      ops.index_copy_(stored.view(-1, headDim), 0, indices, from.reshape(-1, headDim));
    return (layer, k, v) => {
      write(this.#keys[layer] as Tensor, k);
      write(this.#values[layer] as Tensor, v);
    };
  }

  /**
   * Drops all rows but these. Rows from the end move into the gaps: shifting all rows would cost more than a step.
   * @returns for each row now in use, its number before
   */
  keepRows(rows: readonly number[]): number[] {
    const remaining = new Set(rows);
    const moved = rows.filter((row) => row >= rows.length);
    const order = rows.map((_, slot) => (remaining.has(slot) ? slot : (moved.pop() as number)));
    const gaps = order.flatMap((row, slot) => (row === slot ? [] : [slot]));
    if (gaps.length) {
      const from = int64(gaps.map((slot) => order[slot] as number));
      const to = int64(gaps);
      for (const stored of [...this.#keys, ...this.#values]) {
        const byRow = stored.view(stored.size(0), -1);
        ops.index_copy_(byRow, 0, to, byRow.indexSelect(0, from));
      }
    }
    this.lengths = order.map((row) => this.lengths[row] as number);
    this.#promptLengths = order.map((row) => this.#promptLengths[row] as number);
    return order;
  }

  dispose(): void {
    for (const stored of [...this.#keys, ...this.#values]) stored.dispose();
  }
}
