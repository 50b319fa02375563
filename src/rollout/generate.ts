import { setImmediate } from "node:timers/promises";
import { InputError } from "../data/errors.ts";
import type { Model } from "../models/model.ts";
import { batchRows, pack } from "../models/pack.ts";
import { cat, Generator, noGrad, scope, type Tensor, tensor } from "../tensor/index.ts";
import { KvCache } from "./cache.ts";
import { cut, draw, forbid, type Sampling } from "./sampling.ts";

export interface GenerateOptions extends Partial<Omit<Sampling, "temperature">> {
  /** Divides the logits; 0 takes the likeliest token. A list gives each of a prompt's samples its own. */
  temperature?: number | readonly number[] | undefined;
  /** Most tokens of a response, its stop token included. */
  maxTokens: number;
  /** Stop tokens are not drawn before this many. */
  minTokens?: number | undefined;
  /** Ids that end a response; by default the tokenizer's. */
  stopIds?: readonly number[] | undefined;
  /** Texts that end a response; they are cut from its text. */
  stop?: readonly string[] | undefined;
  /** Responses to each prompt. */
  samples?: number | undefined;
  /** Responses decoded together. */
  batchSize?: number | undefined;
  seed?: number | undefined;
  /** In place of `seed`: goes on from the state it has. */
  generator?: Generator | undefined;
  signal?: AbortSignal | undefined;
  /** Told the hidden states, (rows, hidden), that the rows' next tokens are drawn from. */
  onStates?: ((hidden: Tensor, rows: readonly Response[]) => void) | undefined;
  /** Told how many responses have ended, of how many. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Response {
  /** Which prompt it answers. */
  prompt: number;
  /** Sampled ids, with the stop token when there is one. */
  tokens: number[];
  /** Log-probability of each token under the distribution it was sampled from. */
  logprobs: number[];
  /** Whether it reached a stop token or stop text. */
  finished: boolean;
  /** The decoded response, without stop token or stop text. */
  text: string;
}

/**
 * Responses as they grow: every step yields the rows that got a token in it, the same `Response` objects
 * throughout. They begin in the prompts' order: prompts that wait take the places of responses that have ended.
 * @throws InputError when a prompt does not fit the model's context
 */
export function* decode(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): globalThis.Generator<Response[]> {
  const { topK, topP, maxTokens, minTokens = 0, stop = [], samples = 1, batchSize = 64 } = options;
  const temperatures = [options.temperature ?? 1].flat();
  if (temperatures.length > 1 && (temperatures.length !== samples || Math.min(...temperatures) <= 0))
    throw new InputError(
      `${temperatures.length} temperatures: give one, or one over 0 for each of ${samples} samples`,
    );
  const stopIds = options.stopIds ?? model.tokenizer?.stopIds ?? [];
  if (!prompts.length) return;
  const { context } = model.dimensions;
  const longest = Math.max(...prompts.map((ids) => ids.length));
  if (longest >= context)
    throw new InputError(`a prompt has ${longest} tokens and the model's context is ${context}: shorten it`);
  const all: Response[] = prompts.flatMap((_, prompt) =>
    Array.from({ length: samples }, () => ({ prompt, tokens: [], logprobs: [], finished: false, text: "" })),
  );
  const temperatureOf = new Map(all.map((row, i) => [row, temperatures[i % temperatures.length] as number]));
  const atOnce = Math.min(prompts.length, Math.max(1, Math.floor(batchSize / samples)));
  const capacity = Math.min(longest + maxTokens, context);
  const generator = options.generator ?? new Generator(options.seed ?? 0);
  const cache = noGrad(() => new KvCache(model, atOnce * samples, capacity));
  /** The cache's rows, and how many of `all` they or earlier ones were. */
  let rows: Response[] = [];
  let begun = 0;

  /** Gives each row a token, drawn from its hidden state. */
  const sample = (hidden: Tensor, rows: readonly Response[]): void => {
    options.onStates?.(hidden, rows);
    const young = rows.flatMap(({ tokens }, i) => (tokens.length < minTokens ? [i] : []));
    const logits = forbid(model.logits(hidden), young, stopIds);
    const temperature =
      temperatures.length > 1
        ? tensor(rows.map((row) => temperatureOf.get(row) as number)).unsqueeze(1)
        : (temperatures[0] as number);
    const { tokens, logprobs } = draw(cut(logits, { temperature, topK, topP }), temperature, generator);
    const [ids, lps] = [tokens.toArray(), logprobs.toArray()];
    rows.forEach((row, i) => {
      row.tokens.push(ids[i] as number);
      row.logprobs.push(lps[i] as number);
      row.finished = stopIds.includes(ids[i] as number);
    });
  };
  const endAtText = (row: Response): void => {
    if (!stop.length || row.finished) return;
    const text = model.text.decode(row.tokens);
    const at = Math.min(...stop.map((end) => text.indexOf(end)).filter((i) => i >= 0));
    if (Number.isFinite(at)) Object.assign(row, { finished: true, text: text.slice(0, at) });
  };
  const hasEnded = ({ finished, prompt, tokens }: Response): boolean =>
    finished || tokens.length === Math.min(maxTokens, context - (prompts[prompt] as number[]).length);
  const close = (row: Response): void => {
    if (row.text || !model.tokenizer) return;
    const last = row.tokens.at(-1) as number;
    row.text = model.text.decode(stopIds.includes(last) ? row.tokens.slice(0, -1) : row.tokens);
  };
  /** Prompts there is room for. */
  const room = (): number => atOnce - Math.ceil(rows.length / samples);
  const begin = (): Response[] => {
    const first = begun / samples;
    const entering = prompts.slice(first, first + room());
    const fresh = all.slice(begun, begun + entering.length * samples);
    sample(prefill(model, cache, entering, samples), fresh);
    begun += fresh.length;
    rows = [...rows, ...fresh];
    return fresh;
  };
  const step = (): Response[] => {
    const last = rows.map(({ tokens }) => tokens.at(-1) as number);
    const batch = {
      ids: tensor(last, { dtype: "int64" }),
      positions: tensor(cache.lengths, { dtype: "int64" }),
      lengths: rows.map(() => 1),
    };
    sample(model.hidden(batch, cache.step()), rows);
    return rows;
  };

  try {
    while (rows.length || begun < all.length) {
      const entering = begun < all.length && room() >= atOnce * roomToEnter;
      const grown = noGrad(() => scope(entering ? begin : step));
      for (const row of grown) endAtText(row);
      const ended = new Set(grown.filter(hasEnded));
      if (ended.size) {
        for (const row of ended) close(row);
        const before = rows;
        const going = before.flatMap((row, i) => (ended.has(row) ? [] : [i]));
        rows = noGrad(() => scope(() => cache.keepRows(going))).map((i) => before[i] as Response);
        options.onProgress?.(begun - rows.length, all.length);
      }
      yield grown;
    }
  } finally {
    cache.dispose();
    if (!options.generator) generator.dispose();
  }
}

/** Share of the places that are free when waiting prompts enter: one by itself would read all weights for few tokens. */
const roomToEnter = 0.25;

/** Tokens of prompts computed at once. */
const prefillTokens = 4096;

/** Adds `samples` rows of each prompt to the cache, and gives the hidden state at each row's end. */
function prefill(
  model: Model,
  cache: KvCache,
  prompts: readonly (readonly number[])[],
  samples: number,
): Tensor {
  const ends = batchRows(
    prompts.map((prompt) => ({ prompt, response: [] })),
    prefillTokens,
  ).map((chunk) =>
    scope(() => {
      const batch = pack(chunk.map(({ prompt }) => prompt));
      let end = -1;
      const places = batch.lengths.flatMap((length) => {
        end += length;
        return new Array<number>(samples).fill(end);
      });
      const wanted = tensor(places, { dtype: "int64" });
      return model.hidden({ ...batch, wanted }, cache.prefill(batch.lengths, samples));
    }),
  );
  return cat(ends);
}

/**
 * Samples responses to prompts (token ids), in the prompts' order, all samples of one together, `batchSize` at a time.
 * @throws InputError when a prompt does not fit the model's context
 */
export async function generate(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Promise<Response[]> {
  const responses = new Set<Response>();
  for (const grown of decode(model, prompts, options)) {
    for (const row of grown) responses.add(row);
    await setImmediate(); // lets a signal in
    options.signal?.throwIfAborted();
  }
  return [...responses];
}
