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
  /** Rows decoded together. */
  batchSize?: number | undefined;
  seed?: number | undefined;
  /** In place of `seed`: goes on from the state it has. */
  generator?: Generator | undefined;
  signal?: AbortSignal | undefined;
  /** Told the hidden states, (rows, hidden), that the rows' next tokens are drawn from. */
  onStates?: ((hidden: Tensor, rows: readonly Response[]) => void) | undefined;
  /** Told after each batch how many responses there are, of how many. */
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

/** Responses as they grow: every step yields the rows that got a token in it. The same `Response` objects throughout. */
export function* decode(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): globalThis.Generator<Response[]> {
  const { topK, topP, maxTokens, minTokens = 0, stop = [], samples = 1 } = options;
  const temperatures = [options.temperature ?? 1].flat();
  if (temperatures.length > 1 && (temperatures.length !== samples || Math.min(...temperatures) <= 0))
    throw new InputError(
      `${temperatures.length} temperatures: give one, or one over 0 for each of ${samples} samples`,
    );
  const stopIds = options.stopIds ?? model.tokenizer?.stopIds ?? [];
  const generator = options.generator ?? new Generator(options.seed ?? 0);
  const { context } = model.dimensions;
  const longest = Math.max(...prompts.map((ids) => ids.length));
  if (longest >= context)
    throw new InputError(`a prompt has ${longest} tokens and the model's context is ${context}: shorten it`);
  const limit = Math.min(maxTokens, context - longest);
  const source = prompts.flatMap((_, i) => new Array<number>(samples).fill(i));
  const all: Response[] = source.map((prompt) => ({
    prompt,
    tokens: [],
    logprobs: [],
    finished: false,
    text: "",
  }));
  let rows = all;
  const temperatureOf = new Map(all.map((row, i) => [row, temperatures[i % temperatures.length] as number]));

  const cache = noGrad(() => new KvCache(model, source.length, longest + limit));
  const sample = (hidden: Tensor, at: number): void => {
    options.onStates?.(hidden, rows);
    let logits = model.logits(hidden);
    if (at < minTokens && stopIds.length) logits = forbid(logits, stopIds);
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
  const close = (row: Response): void => {
    if (row.text || !model.tokenizer) return;
    const last = row.tokens.at(-1) as number;
    row.text = model.text.decode(stopIds.includes(last) ? row.tokens.slice(0, -1) : row.tokens);
  };

  try {
    for (let at = 0; at < limit && rows.length; at++) {
      noGrad(() =>
        scope(() => {
          if (at === 0) return sample(prefill(model, cache, prompts, samples), at);
          const ids = tensor(
            rows.map((row) => row.tokens.at(-1) as number),
            { dtype: "int64" },
          );
          const positions = tensor(cache.lengths, { dtype: "int64" });
          sample(model.hidden({ ids, positions, lengths: rows.map(() => 1) }, cache.step()), at);
        }),
      );
      const grown = rows;
      for (const row of grown) endAtText(row);
      const going = grown.flatMap((row, i) => (row.finished ? [] : [i]));
      if (going.length < grown.length) {
        for (const row of grown) if (row.finished) close(row);
        rows = noGrad(() => scope(() => cache.keepRows(going))).map((i) => grown[i] as Response);
      }
      yield grown;
    }
    for (const row of rows) close(row);
  } finally {
    cache.dispose();
  }
}

/** Tokens of prompts computed at once. */
const prefillTokens = 4096;

/** Fills the cache with `samples` rows of each prompt, and gives the hidden state at each row's end. */
function prefill(
  model: Model,
  cache: KvCache,
  prompts: readonly (readonly number[])[],
  samples: number,
): Tensor {
  let row = 0;
  const ends = batchRows(
    prompts.map((prompt) => ({ prompt, response: [] })),
    prefillTokens,
  ).map((chunk) =>
    scope(() => {
      const batch = pack(chunk.map(({ prompt }) => prompt));
      const rows = chunk.map(() => Array.from({ length: samples }, () => row++));
      let end = -1;
      const places = batch.lengths.flatMap((length) => {
        end += length;
        return new Array<number>(samples).fill(end);
      });
      const wanted = tensor(places, { dtype: "int64" });
      return model.hidden({ ...batch, wanted }, cache.prefill(batch.lengths, rows));
    }),
  );
  return cat(ends);
}

/**
 * Samples responses to prompts (token ids), in the prompts' order, all samples of one together. Prompts of like length
 * are decoded together, `batchSize` rows at a time.
 * @throws InputError when a prompt does not fit the model's context
 */
export async function generate(
  model: Model,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions,
): Promise<Response[]> {
  const { samples = 1, batchSize = 64 } = options;
  const generator = options.generator ?? new Generator(options.seed ?? 0);
  const order = prompts
    .map((_, i) => i)
    .sort((a, b) => (prompts[a]?.length ?? 0) - (prompts[b]?.length ?? 0));
  const perBatch = Math.max(1, Math.floor(batchSize / samples));
  const responses: Response[] = [];
  for (let start = 0; start < order.length; start += perBatch) {
    const chosen = order.slice(start, start + perBatch);
    const seen = new Set<Response>();
    for (const grown of decode(
      model,
      chosen.map((i) => prompts[i] as number[]),
      { ...options, generator },
    )) {
      for (const row of grown) seen.add(row);
      await setImmediate(); // lets a signal in
      options.signal?.throwIfAborted();
    }
    for (const row of seen) responses.push({ ...row, prompt: chosen[row.prompt] as number });
    options.onProgress?.(responses.length, prompts.length * samples);
  }
  // A stable sort: samples of one prompt stay in the order they were drawn.
  return responses.sort((a, b) => a.prompt - b.prompt);
}
