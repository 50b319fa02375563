import type { Row } from "../../batch/pack.ts";
import { allSequenceLogprobs, layOutResponses, padResponses, responseLogprobs } from "../../batch/score.ts";
import type { Model } from "../../models/model.ts";
import { type Tensor, tensor } from "../../tensor/index.ts";
import type { Completions } from "./loss.ts";

/** Σ log π_ref of each completion. */
export type Reference = Map<Row, number>;

/** Adds the log-probabilities of completions under the reference model. */
export function refer(reference: Reference, model: Model, rows: readonly Row[]): void {
  allSequenceLogprobs(model, rows).forEach((logprob, i) => reference.set(rows[i] as Row, logprob));
}

/**
 * Completions as the losses take them.
 * @param reference log-probabilities from `refer`; undefined for losses without a reference
 * @returns also the policy's log-prob of each token, flat over the rows
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
    reference: tensor(rows.map((row) => (reference ? referred(reference, row) : 0))),
    lengths: tensor(rows.map(({ tokens }) => tokens.length)),
  };
}

/** The reference's log-probability of a completion. */
export function referred(reference: Reference, row: Row): number {
  const logprob = reference.get(row);
  if (logprob === undefined) throw new Error("a completion has no log-probability under the reference");
  return logprob;
}
