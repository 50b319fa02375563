import { tokenStatistics } from "../math/index.ts";
import type { Batch } from "../models/attention.ts";
import type { Model } from "../models/model.ts";
import { noGrad, ops, scope, type Tensor, tensor, zeros } from "../tensor/index.ts";
import { batchRows, packRows, type Row } from "./pack.ts";

/** Responses laid out for a loss: everything about their tokens as (batch, time), padded on the right. */
export interface ResponseLayout {
  batch: Batch;
  /** Tokens of each response. */
  lengths: number[];
  /** Longest response. */
  time: number;
  /** Packed places of the tokens that predict each response token, flat over rows. */
  predictorIndices: Tensor;
  /** Where each flat value goes in (batch · time). */
  paddedIndices: Tensor;
  /** Response tokens, flat. */
  targets: Tensor;
  /** (batch, time) float32: 1 where there is a token. */
  responseMask: Tensor;
}

export function layOutResponses(rows: readonly Row[]): ResponseLayout {
  const lengths = rows.map(({ tokens: response }) => response.length);
  const time = Math.max(...lengths);
  const { batch, place } = packRows(rows);
  const before: number[] = [];
  const places: number[] = [];
  rows.forEach(({ promptTokens: prompt, tokens: response }, row) => {
    for (let t = 0; t < response.length; t++) {
      before.push(place(row, prompt.length - 1 + t));
      places.push(row * time + t);
    }
  });
  const int = (values: number[]) => tensor(values, { dtype: "int64" });
  const mask = lengths.flatMap((length) => Array.from({ length: time }, (_, t) => (t < length ? 1 : 0)));
  return {
    batch,
    lengths,
    time,
    predictorIndices: int(before),
    paddedIndices: int(places),
    targets: int(rows.flatMap(({ tokens: response }) => response)),
    responseMask: tensor(mask, { shape: [lengths.length, time] }),
  };
}

/** Flat values of response tokens as (batch, time), 0 where there is none. Differentiable. */
export function padResponses(layout: ResponseLayout, flat: Tensor): Tensor {
  const { lengths, time, paddedIndices: places } = layout;
  const empty = zeros([lengths.length * time]).toDevice(flat.device);
  return ops.index_copy(empty, 0, places, flat).view(lengths.length, time);
}

/** Hidden states before each response token: (response tokens, hidden). */
export const responseStates = (model: Model, layout: ResponseLayout): Tensor =>
  model.hidden({ ...layout.batch, outputIndices: layout.predictorIndices });

/** `targetsUnder` the model of the response tokens, flat. */
export function responseStatistics(
  model: Model,
  layout: ResponseLayout,
  temperature = 1,
): ReturnType<typeof tokenStatistics> {
  const [logprobs, entropy, correct] = model.readLogits(responseStates(model, layout), (logits, part) => {
    const found = tokenStatistics(logits, part(layout.targets), temperature);
    return [found.logprobs, found.entropy, found.correct];
  }) as [Tensor, Tensor, Tensor];
  return { logprobs, entropy, correct };
}

/** Log-probability of each response token, flat. */
export const responseLogprobs = (model: Model, layout: ResponseLayout, temperature = 1): Tensor =>
  responseStatistics(model, layout, temperature).logprobs;

/** Log-probability of each token of each row's response, as numbers, without gradients. */
export function tokenLogprobs(
  model: Model,
  rows: readonly Row[],
  temperature = 1,
  tokensPerBatch = 2048,
): number[][] {
  return batchRows(rows, tokensPerBatch).flatMap((batch) => {
    const flat = noGrad(() =>
      scope(() => responseLogprobs(model, layOutResponses(batch), temperature).toArray()),
    );
    let start = 0;
    return batch.map(({ tokens: { length } }) => {
      start += length;
      return flat.slice(start - length, start);
    });
  });
}

/** Σ log-probability of each row's response tokens: (batch). */
export function sequenceLogprobs(model: Model, rows: readonly Row[]): Tensor {
  const layout = layOutResponses(rows);
  return padResponses(layout, responseLogprobs(model, layout)).sum(1);
}

/** Hidden state at the last token of each row's response: (batch, hidden). */
export function lastHiddenStates(model: Model, rows: readonly Row[]): Tensor {
  const { batch, place } = packRows(rows);
  const last = rows.map(({ promptTokens: prompt, tokens: response }, row) =>
    place(row, prompt.length + response.length - 1),
  );
  return model.hidden({ ...batch, outputIndices: tensor(last, { dtype: "int64" }) });
}

/** Score of each row, read at the last token of its response: (batch). */
export const sequenceScores = (model: Model, rows: readonly Row[]): Tensor =>
  model.scores(lastHiddenStates(model, rows));

/** Scores of rows as numbers, without gradients, some `tokensPerBatch` tokens at a time. */
export const scoreAll = (model: Model, rows: readonly Row[], tokensPerBatch = 4096): number[] =>
  readAll(rows, tokensPerBatch, (batch) => sequenceScores(model, batch));

/** `rowLogprobs` as numbers, as `scoreAll` gives scores. */
export const allSequenceLogprobs = (model: Model, rows: readonly Row[], tokensPerBatch = 2048): number[] =>
  readAll(rows, tokensPerBatch, (batch) => sequenceLogprobs(model, batch));

const readAll = (rows: readonly Row[], tokens: number, read: (batch: Row[]) => Tensor): number[] =>
  batchRows(rows, tokens).flatMap((batch) => noGrad(() => scope(() => read(batch).toArray())));
