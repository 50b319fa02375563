import type { Row } from "../../batch/pack.ts";
import { logprobAll, rowLogprobs } from "../../batch/score.ts";
import type { Model } from "../../models/model.ts";
import { tensor } from "../../tensor/index.ts";
import type { Completions } from "./loss.ts";

/** Σ log π_ref of each completion; without a reference it is 0. */
export type Reference = Map<Row, number>;

/** Adds what the reference says of these completions. */
export function refer(reference: Reference, model: Model, rows: readonly Row[]): void {
  logprobAll(model, rows).forEach((logprob, i) => reference.set(rows[i] as Row, logprob));
}

/** What a loss reads of completions. */
export const completionsOf = (model: Model, rows: readonly Row[], reference: Reference): Completions => ({
  policy: rowLogprobs(model, rows),
  reference: tensor(rows.map((row) => reference.get(row) ?? 0)),
  lengths: tensor(rows.map(({ response }) => response.length)),
});
