import { tokenStatistics } from "../math/index.ts";
import type { Batch } from "../models/attention.ts";
import type { Model } from "../models/model.ts";
import { distanceBeyond, type TrainingDistribution } from "../models/training-distribution.ts";
import { cat, noGrad, ops, scope, type Tensor, tensor, zeros } from "../tensor/index.ts";
import { batchRows, packRows, type Row } from "./pack.ts";

/** A packed batch, with the indices that take values of its response tokens to (batch, time), padded on the right. */
export interface ResponseLayout {
  batch: Batch;
  /** Number of tokens of each response. */
  lengths: number[];
  /** Number of tokens of the longest response. */
  time: number;
  /** (response tokens) int64: packed index of the token before each response token, whose logits predict it. */
  predictorIndices: Tensor;
  /** (response tokens) int64: index of each response token in a flattened (batch, time). */
  paddedIndices: Tensor;
  /** (response tokens) int64: ids of the response tokens of all rows, end to end. */
  targets: Tensor;
  /** (batch, time) float32: 1 for a token to learn from, 0 for padding and masked tokens. */
  responseMask: Tensor;
}

/** Packs rows and lays out their responses for a loss. @throws InputError for an empty prompt */
export function layOutResponses(rows: readonly Row[]): ResponseLayout {
  const lengths = rows.map(({ tokens: response }) => response.length);
  const time = Math.max(...lengths);
  const { batch, packedIndex } = packRows(rows);
  const predictorIndices: number[] = [];
  const paddedIndices: number[] = [];
  rows.forEach(({ promptTokens: prompt, tokens: response }, row) => {
    for (let t = 0; t < response.length; t++) {
      predictorIndices.push(packedIndex(row, prompt.length - 1 + t));
      paddedIndices.push(row * time + t);
    }
  });
  const int64 = (values: number[]) => tensor(values, { dtype: "int64" });
  const mask = rows.flatMap(({ tokens, mask }) =>
    Array.from({ length: time }, (_, t) => (t < tokens.length ? (mask?.[t] ?? 1) : 0)),
  );
  return {
    batch,
    lengths,
    time,
    predictorIndices: int64(predictorIndices),
    paddedIndices: int64(paddedIndices),
    targets: int64(rows.flatMap(({ tokens: response }) => response)),
    responseMask: tensor(mask, { shape: [lengths.length, time] }),
  };
}

/** Makes the mask of the rows' response tokens: (response tokens) float32, 1 to learn. Undefined if all are to be learned. */
export const learnedMask = (rows: readonly Row[]): Tensor | undefined =>
  rows.some(({ mask }) => mask)
    ? tensor(rows.flatMap(({ tokens, mask }) => mask ?? tokens.map(() => 1)))
    : undefined;

/**
 * Pads values of response tokens: (response tokens) → (batch, time), 0 for padding. Differentiable.
 * @param flat (response tokens), in the order of `layout.targets`
 */
export function padResponses(layout: ResponseLayout, flat: Tensor): Tensor {
  const { lengths, time, paddedIndices: places } = layout;
  const empty = zeros([lengths.length * time]).toDevice(flat.device);
  return ops.index_copy(empty, 0, places, flat).view(lengths.length, time);
}

/** Computes the hidden states that predict each response token: (response tokens, hidden). */
export const responseStates = (model: Model, layout: ResponseLayout): Tensor =>
  model.hidden({ ...layout.batch, outputIndices: layout.predictorIndices });

/** Computes `tokenStatistics` of the response tokens under the model, each (response tokens). */
export function responseStatistics(
  model: Model,
  layout: ResponseLayout,
  temperature = 1,
): ReturnType<typeof tokenStatistics> {
  const [logprobs, entropy, correct] = model.readLogits(responseStates(model, layout), (logits, part) => {
    const { logprobs, entropy, correct } = tokenStatistics(logits, part(layout.targets), temperature);
    return [logprobs, entropy, correct];
  }) as [Tensor, Tensor, Tensor];
  return { logprobs, entropy, correct };
}

/** Computes the log-probability of each response token: (response tokens). */
export const responseLogprobs = (model: Model, layout: ResponseLayout, temperature = 1): Tensor =>
  responseStatistics(model, layout, temperature).logprobs;

/**
 * Computes log-probabilities of all response tokens as numbers, without gradients.
 * @param tokensPerBatch most tokens of a forward pass
 * @returns for each row a list with the log-probability of each response token
 */
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

/** Computes the log-probability of each row's response, the sum over its tokens: (batch). */
export function sequenceLogprobs(model: Model, rows: readonly Row[]): Tensor {
  const layout = layOutResponses(rows);
  return padResponses(layout, responseLogprobs(model, layout)).sum(1);
}

/** Computes the hidden state at the last token of each row: (batch, hidden). */
export function lastHiddenStates(model: Model, rows: readonly Row[]): Tensor {
  const { batch, packedIndex } = packRows(rows);
  const last = rows.map(({ promptTokens: prompt, tokens: response }, row) =>
    packedIndex(row, prompt.length + response.length - 1),
  );
  return model.hidden({ ...batch, outputIndices: tensor(last, { dtype: "int64" }) });
}

/** Scores each row with the model's scalar head, at the last token of its response: (batch). */
export const sequenceScores = (model: Model, rows: readonly Row[]): Tensor =>
  model.scores(lastHiddenStates(model, rows));

/**
 * Scores rows with the model's scalar head, as numbers and without gradients.
 * @param tokensPerBatch most tokens of a forward pass
 * @throws InputError for a model without a scalar head
 */
export const scoreAll = (model: Model, rows: readonly Row[], tokensPerBatch = 4096): number[] =>
  computeAll(rows, tokensPerBatch, (batch) => sequenceScores(model, batch));

/** Computes the hidden states at the last tokens of all rows, without gradients: (rows, hidden) float32, on the CPU. */
export const allLastHiddenStates = (model: Model, rows: readonly Row[], tokensPerBatch = 4096): Tensor =>
  noGrad(() =>
    scope(() =>
      cat(
        batchRows(rows, tokensPerBatch).map((batch) =>
          scope(() => lastHiddenStates(model, batch).to("float32").toDevice("cpu")),
        ),
      ),
    ),
  );

/** Scores rows as `scoreAll` does, and says how far each is from the answers that the model learned from. */
export const scoreWithDistance = (
  model: Model,
  distribution: TrainingDistribution,
  rows: readonly Row[],
  tokensPerBatch = 4096,
): { score: number; distance: number }[] =>
  batchRows(rows, tokensPerBatch).flatMap((batch) =>
    noGrad(() =>
      scope(() => {
        const states = lastHiddenStates(model, batch);
        const distances = distanceBeyond(states, distribution).toArray();
        return model
          .scores(states)
          .toArray()
          .map((score, i) => ({ score, distance: distances[i] as number }));
      }),
    ),
  );

/** Computes the log-probability of each row's response, as numbers and without gradients. */
export const allSequenceLogprobs = (model: Model, rows: readonly Row[], tokensPerBatch = 2048): number[] =>
  computeAll(rows, tokensPerBatch, (batch) => sequenceLogprobs(model, batch));

/** Computes a number for each row, in batches of at most `tokens` tokens. */
const computeAll = (rows: readonly Row[], tokens: number, compute: (batch: Row[]) => Tensor): number[] =>
  batchRows(rows, tokens).flatMap((batch) => noGrad(() => scope(() => compute(batch).toArray())));
