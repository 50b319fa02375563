import { batchRows, pack } from "../batch/pack.ts";
import { InputError } from "../data/errors.ts";
import type { Model } from "../models/model.ts";
import { cat, noGrad, type Rng, scope, type Tensor, tensor } from "../tensor/index.ts";
import { KvCache } from "./cache.ts";
import type { Completion } from "./sampler.ts";
import { filterLogits, maskTokens, type Sampling, sampleTokens } from "./sampling.ts";

/** A prompt to complete, and how. */
export interface Request {
  promptTokens: readonly number[];
  /** Completions of the prompt. Default: 1. */
  samples?: number;
  promptIndex?: number;
  /** Divides the logits; 0 takes the likeliest token. A list gives each completion its own. Default: 1. */
  temperature?: number | readonly number[] | undefined;
  topK?: number | undefined;
  topP?: number | undefined;
  maxTokens: number;
  minTokens?: number | undefined;
  /** Ids that end a completion. Default: the tokenizer's. */
  stopIds?: readonly number[] | undefined;
  /** Texts that end a completion. */
  stop?: readonly string[] | undefined;
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

/** A completion that grows, with what decides how. */
interface Row {
  completion: Completion;
  temperature: number;
  topK: number | undefined;
  topP: number | undefined;
  minTokens: number;
  /** Tokens it may grow to. */
  limit: number;
  stopIds: readonly number[];
  stop: readonly string[];
}

/** Share of the rows that must be free before waiting prompts enter: a prompt alone reads all weights for few tokens. */
const roomToEnter = 0.25;

/** Tokens of prompts computed at once. */
const prefillTokens = 4096;

/**
 * Decodes the completions of many requests together, a token each at every step. Requests may be added between any two
 * steps: they wait until there is room, and their completions leave when they end.
 */
export class Engine {
  readonly #model: Model;
  readonly #options: EngineOptions;
  readonly #capacity: number;
  readonly #cache: KvCache;
  /** Completions by prompt, in the order in which they enter. */
  #waiting: Row[][] = [];
  /** The rows of the cache. */
  #rows: Row[] = [];

  constructor(model: Model, options: EngineOptions) {
    this.#model = model;
    this.#options = options;
    this.#capacity = Math.min(options.capacity ?? Number.POSITIVE_INFINITY, model.dimensions.context);
    this.#cache = noGrad(() => new KvCache(model, options.rows, this.#capacity));
  }

  /**
   * Adds a request. @returns its completions, which grow with every step that they take part in
   * @throws InputError when the prompt does not fit the model's context, or for a bad list of temperatures
   */
  add(request: Request): Completion[] {
    const { promptTokens, samples = 1, promptIndex = 0, topK, topP, maxTokens, minTokens = 0 } = request;
    if (promptTokens.length >= this.#capacity)
      throw new InputError(
        `a prompt has ${promptTokens.length} tokens and the model's context is ${this.#model.dimensions.context}: shorten it`,
      );
    const temperatures = [request.temperature ?? 1].flat();
    if (temperatures.length > 1 && (temperatures.length !== samples || Math.min(...temperatures) <= 0))
      throw new InputError(
        `${temperatures.length} temperatures: give one, or one over 0 for each of ${samples} samples`,
      );
    const rows = Array.from({ length: samples }, (_, i): Row => {
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

  /** Whether no completion waits or grows. */
  get isIdle(): boolean {
    return !this.#rows.length && !this.#waiting.length;
  }

  /**
   * Lets waiting prompts in where enough rows are free, or else gives every completion its next token.
   * @returns the completions that got a token; those with a `finishReason` have ended
   */
  step(): Completion[] {
    const entering = this.#entering();
    if (!entering.length && !this.#rows.length) return [];
    const grown = noGrad(() => scope(() => (entering.length ? this.#enter(entering) : this.#decode())));
    const ended = new Set(grown.filter((row) => this.#end(row)));
    if (ended.size) {
      const before = this.#rows;
      const going = before.flatMap((row, i) => (ended.has(row) ? [] : [i]));
      this.#rows = noGrad(() => scope(() => this.#cache.keepRows(going))).map((i) => before[i] as Row);
    }
    return grown.map(({ completion }) => completion);
  }

  /** Takes from the waiting prompts those that may enter now. */
  #entering(): Row[][] {
    const { rows } = this.#options;
    const size = this.#waiting[0]?.length ?? 0;
    if (!size) return [];
    // Rows are given out by the prompt, so those of a prompt that has partly ended are not free.
    let free = rows - Math.ceil(this.#rows.length / size) * size;
    if (this.#rows.length && free < Math.floor(rows / size) * size * roomToEnter) return [];
    let count = 0;
    for (const { length } of this.#waiting) {
      if (length > free && (count || this.#rows.length)) break;
      free -= length;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  #enter(prompts: readonly Row[][]): Row[] {
    const fresh = prompts.flat();
    this.#sample(this.#prefill(prompts), fresh);
    this.#rows = [...this.#rows, ...fresh];
    return fresh;
  }

  /** Adds prompts to the cache. @returns the hidden state at the end of each row's prompt */
  #prefill(prompts: readonly Row[][]): Tensor {
    const requests = prompts.map((rows) => ({
      promptTokens: (rows[0] as Row).completion.promptTokens,
      tokens: [],
      samples: rows.length,
    }));
    const ends = batchRows(requests, prefillTokens).flatMap((chunk) =>
      runsOf(chunk, ({ samples }) => samples).map((run) =>
        scope(() => {
          const { samples } = run[0] as (typeof requests)[number];
          const batch = pack(run.map(({ promptTokens }) => promptTokens));
          let end = -1;
          const places = batch.lengths.flatMap((length) => {
            end += length;
            return new Array<number>(samples).fill(end);
          });
          const outputIndices = tensor(places, { dtype: "int64" });
          return this.#model.hidden({ ...batch, outputIndices }, this.#cache.prefill(batch.lengths, samples));
        }),
      ),
    );
    return cat(ends);
  }

  #decode(): Row[] {
    const last = this.#rows.map(({ completion }) => completion.tokens.at(-1) as number);
    const batch = {
      ids: tensor(last, { dtype: "int64" }),
      positions: tensor(this.#cache.lengths, { dtype: "int64" }),
      lengths: this.#rows.map(() => 1),
    };
    this.#sample(this.#model.hidden(batch, this.#cache.step()), this.#rows);
    return this.#rows;
  }

  /** Gives each row a token, sampled from its hidden state. */
  #sample(hidden: Tensor, rows: readonly Row[]): void {
    const completions = rows.map(({ completion }) => completion);
    this.#options.onStates?.(hidden, completions);
    const logits = forbidStops(this.#model.logits(hidden), rows);
    const { ids, logprobs } = drawRows(logits, rows, this.#options.rng);
    completions.forEach((completion, i) => {
      completion.tokens.push(ids[i] as number);
      completion.logprobs.push(logprobs[i] as number);
      completion.mask.push(1);
    });
  }

  /** Ends a row that has reached a stop token, a stop text or its limit. @returns whether it has */
  #end({ completion, stopIds, stop, limit }: Row): boolean {
    const { tokens } = completion;
    const { tokenizer } = this.#model;
    const isStopped = stopIds.includes(tokens.at(-1) as number);
    if (!isStopped && stop.length) {
      const text = this.#model.text.decode(tokens);
      const at = Math.min(...stop.map((end) => text.indexOf(end)).filter((i) => i >= 0));
      if (Number.isFinite(at)) {
        completion.finishReason = "stop";
        completion.text = text.slice(0, at);
        return true;
      }
    }
    if (!isStopped && tokens.length < limit) return false;
    completion.finishReason = isStopped ? "stop" : "length";
    completion.text = tokenizer?.decode(isStopped ? tokens.slice(0, -1) : tokens) ?? "";
    return true;
  }

  dispose(): void {
    this.#cache.dispose();
    this.#waiting = [];
    this.#rows = [];
  }
}

/** Items that follow each other and have the same key, together. */
function runsOf<T>(items: readonly T[], key: (item: T) => unknown): T[][] {
  const runs: T[][] = [];
  for (const [i, item] of items.entries()) {
    if (i && key(items[i - 1] as T) === key(item)) runs.at(-1)?.push(item);
    else runs.push([item]);
  }
  return runs;
}

/** Logits (rows, vocab) under which rows below their least length cannot draw their stop tokens. */
function forbidStops(logits: Tensor, rows: readonly Row[]): Tensor {
  let left = logits;
  const tooShort = rows.flatMap((row, i) =>
    row.completion.tokens.length < row.minTokens ? [{ i, stopIds: row.stopIds }] : [],
  );
  for (const run of runsOf(tooShort, ({ stopIds }) => stopIds))
    left = maskTokens(
      left,
      run.map(({ i }) => i),
      run[0]?.stopIds ?? [],
    );
  return left;
}

type Settings = Pick<Row, "temperature" | "topK" | "topP">;

/** Draws a token for each row by the row's settings. */
function drawRows(
  logits: Tensor,
  rows: readonly Settings[],
  rng: Rng,
): { ids: number[]; logprobs: number[] } {
  const sameCut = rows.every(({ topK, topP }) => topK === rows[0]?.topK && topP === rows[0]?.topP);
  const mixesGreedy = rows.some(({ temperature }) => (temperature === 0) !== (rows[0]?.temperature === 0));
  if (sameCut && !mixesGreedy) return drawAlike(logits, rows, rng);
  // Rows of one request stand together, so there are as many draws as requests at most.
  const result = { ids: [] as number[], logprobs: [] as number[] };
  let start = 0;
  for (const run of runsOf(rows, ({ topK, topP, temperature }) => [topK, topP, temperature === 0].join())) {
    const drawn = drawAlike(logits.narrow(0, start, run.length), run, rng);
    result.ids.push(...drawn.ids);
    result.logprobs.push(...drawn.logprobs);
    start += run.length;
  }
  return result;
}

/** Draws for rows of the same cut-offs. */
function drawAlike(
  logits: Tensor,
  rows: readonly Settings[],
  rng: Rng,
): { ids: number[]; logprobs: number[] } {
  const [{ temperature: first, topK, topP }] = rows as [Settings];
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
