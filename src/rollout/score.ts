import type { Model } from "../models/model.ts";
import { offsets, pack } from "../models/pack.ts";
import { noGrad, ops, scope, type Tensor, tensor, zeros } from "../tensor/index.ts";

/** Responses laid out for a loss: everything about their tokens as (batch, time), padded on the right. */
export interface ResponseLayout {
  /** Prompt and response of each row. */
  sequences: number[][];
  /** Tokens of each response. */
  lengths: number[];
  /** Longest response. */
  time: number;
  /** Packed places of the tokens that predict each response token, flat over rows. */
  before: Tensor;
  /** Where each flat value goes in (batch · time). */
  places: Tensor;
  /** Response tokens, flat. */
  targets: Tensor;
  /** (batch, time) float32: 1 where there is a token. */
  responseMask: Tensor;
}

export function layOut(prompts: readonly (readonly number[])[], responses: readonly (readonly number[])[]): ResponseLayout {
  const sequences = prompts.map((prompt, i) => [...prompt, ...(responses[i] as number[])]);
  const lengths = responses.map((response) => response.length);
  const time = Math.max(...lengths);
  const starts = offsets(sequences.map((ids) => ids.length));
  const before: number[] = [];
  const places: number[] = [];
  prompts.forEach((prompt, row) => {
    for (let t = 0; t < (lengths[row] as number); t++) {
      before.push((starts[row] as number) + prompt.length - 1 + t);
      places.push(row * time + t);
    }
  });
  const int = (values: number[]) => tensor(values, { dtype: "int64" });
  const mask = lengths.flatMap((length) => Array.from({ length: time }, (_, t) => (t < length ? 1 : 0)));
  return {
    sequences,
    lengths,
    time,
    before: int(before),
    places: int(places),
    targets: int(responses.flat()),
    responseMask: tensor(mask, { shape: [lengths.length, time] }),
  };
}

/** Flat values of response tokens as (batch, time), 0 where there is none. Differentiable. */
export function spread(layout: ResponseLayout, flat: Tensor): Tensor {
  const { lengths, time, places } = layout;
  const empty = zeros([lengths.length * time]).toDevice(flat.device);
  return ops.index_copy(empty, 0, places, flat).view(lengths.length, time);
}

/** Vocabulary logits that predict each response token: (response tokens, vocab). */
export function responseLogits(model: Model, layout: ResponseLayout): Tensor {
  return model.logits(model.hidden(pack(layout.sequences)).indexSelect(0, layout.before));
}

/** The critic's value of the state before each response token: (batch, time). */
export function responseValues(critic: Model, layout: ResponseLayout): Tensor {
  return spread(layout, critic.scores(critic.hidden(pack(layout.sequences)).indexSelect(0, layout.before)));
}

/** Score of each whole sequence, read at its last token: (batch). */
export function sequenceScores(model: Model, sequences: readonly (readonly number[])[]): Tensor {
  const batch = pack(sequences);
  const last = offsets(batch.lengths).slice(1).map((end) => end - 1);
  return model.scores(model.hidden(batch).indexSelect(0, tensor(last, { dtype: "int64" })));
}

/** Scores of sequences as numbers, without gradients, some `tokensPerBatch` tokens at a time. */
export function scoreAll(model: Model, sequences: readonly (readonly number[])[], tokensPerBatch = 4096): number[] {
  return batchesOf(sequences, tokensPerBatch).flatMap((batch) =>
    noGrad(() => scope(() => sequenceScores(model, batch).toArray())),
  );
}

/** Consecutive sequences in groups of at most `tokens` tokens, or of one. */
export function batchesOf<T extends readonly unknown[]>(sequences: readonly T[], tokens: number): T[][] {
  const batches: T[][] = [];
  let room = 0;
  for (const sequence of sequences) {
    if (sequence.length > room || !batches.length) {
      batches.push([]);
      room = tokens;
    }
    room -= sequence.length;
    batches.at(-1)?.push(sequence);
  }
  return batches;
}
