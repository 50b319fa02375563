import { batchRows, packRows } from "../batch/pack.ts";
import { InputError } from "../data/errors.ts";
import type { Model } from "../models/model.ts";
import { cat, noGrad, type Rng, scope, type Tensor, tensor } from "../tensor/index.ts";

import { KvCache } from "./cache.ts";
import type { Completion, SampleOptions } from "./sampler.ts";

import { filterLogits, maskTokens, type Sampling, sampleTokens } from "./sampling.ts";

/** A prompt to complete, with its sampling settings. */
export interface Request
  extends Pick<
    SampleOptions,
    "temperature" | "topK" | "topP" | "maxTokens" | "minTokens" | "stop" | "samples"
  > {
  promptTokens: readonly number[];
  /** Copied to the completions. Default: 0. */
  promptIndex?: number;
  /** Ids that end a completion. Default: the tokenizer's. */
  stopIds?: readonly number[] | undefined;
}

export interface EngineOptions {
  /** Completions decoded together. */
  rows: number;
  /** Most tokens of a prompt and its completion. Default: the model's context. */
  capacity?: number | undefined;
  rng: Rng;
  /** Called at each step with the hidden states (rows, hidden) that the rows' next tokens are sampled from. */
  onStates?: ((hidden: Tensor, rows: readonly Completion[]) => void) | undefined;
}

/** A completion that is being decoded, with its sampling settings. */
interface DecodingRow {
  completion: Completion;
  temperature: number;
  topK: number | undefined;
  topP: number | undefined;
  minTokens: number;
  /** Most tokens that it may have: `maxTokens`, or what the context leaves. */
  limit: number;
  stopIds: readonly number[];
  stop: readonly string[];
}

/** Share of the rows that must be free before prompts are prefilled: a prefill of few tokens reads all weights too. */
const minFreeShare = 0.25;

/** Most prompt tokens of a prefill pass. */
const prefillTokens = 4096;

/**
 * Decodes completions with continuous batching: each step adds a token to every completion in progress. Requests may be
 * added between steps; they wait until rows of the cache are free, and a completion that ends frees its row.
 */
export class Engine {
  readonly #model: Model;
  readonly #options: EngineOptions;
  readonly #capacity: number;
  readonly #cache: KvCache;
  /** Completions of requests that wait for free rows, by prompt, first come first. */
  #waiting: DecodingRow[][] = [];
  /** Completions in progress, in the order of the cache's rows. */
  #rows: DecodingRow[] = [];

  constructor(model: Model, options: EngineOptions) {
    this.#model = model;
    this.#options = options;
    this.#capacity = Math.min(options.capacity ?? Number.POSITIVE_INFINITY, model.dimensions.context);
    this.#cache = noGrad(() => new KvCache(model, options.rows, this.#capacity));
  }

  /**
   * Adds a request. @returns its completions, empty as yet; steps add tokens to these objects
   * @throws InputError when the prompt does not fit the model's context, or when the number of temperatures is wrong
   */
  add(request: Request): Completion[] {
    const { promptTokens, samples = 1, promptIndex = 0, topK, topP, maxTokens, minTokens = 0 } = request;
    if (promptTokens.length >= this.#capacity)
      throw new InputError(
        `a prompt has ${promptTokens.length} tokens and the model's context is ${this.#model.dimensions.context}: shorten it`,
      );
    if (samples > this.#options.rows)
      throw new InputError(
        `${samples} samples of a prompt: the engine decodes ${this.#options.rows} together`,
      );
    const temperatures = [request.temperature ?? 1].flat();
    if (temperatures.length > 1 && (temperatures.length !== samples || Math.min(...temperatures) <= 0))
      throw new InputError(
        `${temperatures.length} temperatures: give one, or one over 0 for each of ${samples} samples`,
      );
    const rows = Array.from({ length: samples }, (_, i): DecodingRow => {
      const completion: Completion = {
        promptIndex,
        promptTokens,
        tokens: [],
        logprobs: [],
        mask: [],
        text: "",
        finishReason: null,
      };
      return {
        completion,
        temperature: temperatures[i % temperatures.length] as number,
        topK,
        topP,
        minTokens,
        limit: Math.min(maxTokens, this.#capacity - promptTokens.length),
        stopIds: request.stopIds ?? this.#model.tokenizer?.stopIds ?? [],
        stop: request.stop ?? [],
      };
    });
    this.#waiting.push(rows);
    return rows.map(({ completion }) => completion);
  }

  /** Whether no request waits and no completion is in progress. */
  get isIdle(): boolean {
    return !this.#rows.length && !this.#waiting.length;
  }

  /**
   * Prefills waiting prompts when enough rows are free; otherwise samples the next token of every completion in progress.
   * @returns the completions that got a token; those with a `finishReason` have ended
   */
  step(): Completion[] {
    const admitted = this.#admit();
    if (!admitted.length && !this.#rows.length) return [];
    const updated = noGrad(() => scope(() => (admitted.length ? this.#start(admitted) : this.#decode())));
    const ended = new Set(updated.filter((row) => this.#endIfDone(row)));
    if (ended.size) {
      const before = this.#rows;
      const remaining = before.flatMap((row, i) => (ended.has(row) ? [] : [i]));
      this.#rows = noGrad(() => scope(() => this.#cache.keepRows(remaining))).map(
        (i) => before[i] as DecodingRow,
      );
    }
    return updated.map(({ completion }) => completion);
  }

  /** Takes from the queue the prompts that there are free rows for. */
  #admit(): DecodingRow[][] {
    const { rows } = this.#options;
    const size = this.#waiting[0]?.length ?? 0;
    if (!size) return [];
    // Rows are counted by whole prompts: those of a prompt that has completions in progress are not free.
    let free = rows - Math.ceil(this.#rows.length / size) * size;
    if (this.#rows.length && free < Math.floor(rows / size) * size * minFreeShare) return [];
    let count = 0;
    for (const { length } of this.#waiting) {
      if (length > free && (count || this.#rows.length)) break;
      free -= length;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  /** Prefills prompts and samples the first token of their completions. */
  #start(prompts: readonly DecodingRow[][]): DecodingRow[] {
    const rows = prompts.flat();
    this.#sample(this.#prefill(prompts), rows);
    this.#rows = [...this.#rows, ...rows];
    return rows;
  }

  /** Adds prompts to the cache. @returns the hidden state at the last prompt token of each completion: (rows, hidden) */
  #prefill(prompts: readonly DecodingRow[][]): Tensor {
    const requests = prompts.map((rows) => ({
      promptTokens: (rows[0] as DecodingRow).completion.promptTokens,
      tokens: [],
      samples: rows.length,
    }));
    const lastStates = batchRows(requests, prefillTokens).flatMap((chunk) =>
      groupConsecutive(chunk, ({ samples }) => samples).map((group) =>
        scope(() => {
          const { samples } = group[0] as (typeof requests)[number];
          const { batch, packedIndex } = packRows(group);
          const lastTokens = group.flatMap(({ promptTokens }, row) =>
            new Array<number>(samples).fill(packedIndex(row, promptTokens.length - 1)),
          );
          const outputIndices = tensor(lastTokens, { dtype: "int64" });
          return this.#model.hidden({ ...batch, outputIndices }, this.#cache.prefill(batch, samples));
        }),
      ),
    );
    return cat(lastStates);
  }

  /** Samples the next token of every completion in progress. */
  #decode(): DecodingRow[] {
    const last = this.#rows.map(({ completion }) => completion.tokens.at(-1) as number);
    const batch = {
      ids: tensor(last, { dtype: "int64" }),
      positions: tensor(this.#cache.lengths, { dtype: "int64" }),
      lengths: this.#rows.map(() => 1),
    };
    this.#sample(this.#model.hidden(batch, this.#cache.step()), this.#rows);
    return this.#rows;
  }

  /** Samples a token for each completion. @param hidden (rows, hidden) */
  #sample(hidden: Tensor, rows: readonly DecodingRow[]): void {
    const completions = rows.map(({ completion }) => completion);
    this.#options.onStates?.(hidden, completions);
    const logits = maskEarlyStops(this.#model.logits(hidden), rows);
    const { ids, logprobs } = sampleRows(logits, rows, this.#options.rng);
    completions.forEach((completion, i) => {
      completion.tokens.push(ids[i] as number);
      completion.logprobs.push(logprobs[i] as number);
      completion.mask.push(1);
    });
  }

  /** Ends a completion that has reached a stop token, a stop text or its limit. @returns whether it has */
  #endIfDone({ completion, stopIds, stop, limit }: DecodingRow): boolean {
    const { tokens } = completion;
    const { tokenizer } = this.#model;
    const isStopped = stopIds.includes(tokens.at(-1) as number);
    if (!isStopped && stop.length) {
      const text = this.#model.text.decode(tokens);
      const cut = Math.min(...stop.map((stopText) => text.indexOf(stopText)).filter((i) => i >= 0));
      if (Number.isFinite(cut)) {
        completion.finishReason = "stop";
        completion.text = text.slice(0, cut);
        return true;
      }
    }
    if (!isStopped && tokens.length < limit) return false;
    completion.finishReason = isStopped ? "stop" : "length";
    completion.text = tokenizer?.decode(isStopped ? tokens.slice(0, -1) : tokens) ?? "";
    return true;
  }

  /** Frees the cache and drops all requests. */
  dispose(): void {
    this.#cache.dispose();
    this.#waiting = [];
    this.#rows = [];
  }
}

/** Groups consecutive items that have the same key. */
function groupConsecutive<T>(items: readonly T[], key: (item: T) => unknown): T[][] {
  const groups: T[][] = [];
  for (const [i, item] of items.entries()) {
    if (i && key(items[i - 1] as T) === key(item)) groups.at(-1)?.push(item);
    else groups.push([item]);
  }
  return groups;
}

/** Masks the stop tokens of completions that have fewer than `minTokens` tokens: (rows, vocab) → (rows, vocab). */
function maskEarlyStops(logits: Tensor, rows: readonly DecodingRow[]): Tensor {
  let masked = logits;
  const tooShort = rows.flatMap((row, i) =>
    row.completion.tokens.length < row.minTokens ? [{ i, stopIds: row.stopIds }] : [],
  );
  for (const group of groupConsecutive(tooShort, ({ stopIds }) => stopIds))
    masked = maskTokens(
      masked,
      group.map(({ i }) => i),
      group[0]?.stopIds ?? [],
    );
  return masked;
}

type RowSettings = Pick<DecodingRow, "temperature" | "topK" | "topP">;

/** Samples a token for each row with the row's settings. @param logits (rows, vocab) */
function sampleRows(
  logits: Tensor,
  rows: readonly RowSettings[],
  rng: Rng,
): { ids: number[]; logprobs: number[] } {
  const sameCutoffs = rows.every(({ topK, topP }) => topK === rows[0]?.topK && topP === rows[0]?.topP);
  const mixesGreedy = rows.some(({ temperature }) => (temperature === 0) !== (rows[0]?.temperature === 0));
  if (sameCutoffs && !mixesGreedy) return sampleWithCutoffs(logits, rows, rng);
  // Rows of a request are consecutive, so there are at most as many groups as requests.
  const result = { ids: [] as number[], logprobs: [] as number[] };
  let start = 0;
  for (const group of groupConsecutive(rows, ({ topK, topP, temperature }) =>
    [topK, topP, temperature === 0].join(),
  )) {
    const sampled = sampleWithCutoffs(logits.narrow(0, start, group.length), group, rng);
    result.ids.push(...sampled.ids);
    result.logprobs.push(...sampled.logprobs);
    start += group.length;
  }
  return result;
}

/** Samples a token for each of several rows that have the same top-k and top-p. @param logits (rows, vocab) */
function sampleWithCutoffs(
  logits: Tensor,
  rows: readonly RowSettings[],
  rng: Rng,
): { ids: number[]; logprobs: number[] } {
  const [{ temperature: first, topK, topP }] = rows as [RowSettings];
  const temperature: Sampling["temperature"] = rows.every((row) => row.temperature === first)
    ? first
    : tensor(rows.map((row) => row.temperature)).unsqueeze(1);
  const { tokens, logprobs } = sampleTokens(
    filterLogits(logits, { temperature, topK, topP }),
    temperature,
    rng,
  );
  return { ids: tokens.toArray(), logprobs: logprobs.toArray() };
}
