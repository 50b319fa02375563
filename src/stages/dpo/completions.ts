import type { Row } from "../../batch/pack.ts";
import { allSequenceLogprobs, layOutResponses, padResponses, responseLogprobs } from "../../batch/score.ts";
import type { Model } from "../../models/model.ts";
import { type Tensor, tensor } from "../../tensor/index.ts";
import type { Completions } from "./loss.ts";

/** Log-probability of each completion under the reference, in nats. */
export type Reference = Map<Row, number>;

/** Computes the log-probabilities of completions under the reference model, and adds them to `reference`. */
export function addReference(reference: Reference, model: Model, rows: readonly Row[]): void {
  allSequenceLogprobs(model, rows).forEach((logprob, i) => reference.set(rows[i] as Row, logprob));
}

/**
 * Computes the log-probabilities of completions that the losses take.
 * @param reference from `addReference`; undefined for losses without a reference
 * @returns also `tokenLogprobs` (response tokens): the policy's log-prob of each token, row after row
 */
export function completionsOf(
  model: Model,
  rows: readonly Row[],
  reference: Reference | undefined,
): Completions & { tokenLogprobs: Tensor } {
  const layout = layOutResponses(rows);
  const tokenLogprobs = responseLogprobs(model, layout);
  return {
    tokenLogprobs,
    policy: padResponses(layout, tokenLogprobs).sum(1),
    reference: tensor(rows.map((row) => (reference ? referenceLogprob(reference, row) : 0))),
    lengths: tensor(rows.map(({ tokens }) => tokens.length)),
  };
}

/** Looks up the log-probability of a completion under the reference. */
export function referenceLogprob(reference: Reference, row: Row): number {
  const logprob = reference.get(row);
  if (logprob === undefined) throw new Error("a completion has no log-probability under the reference");
  return logprob;
}
