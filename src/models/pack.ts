import { tensor } from "../tensor/index.ts";
import type { Batch } from "./attention.ts";

/** Sequences of token ids laid end to end. @throws RangeError for an empty one */
export function pack(sequences: readonly (readonly number[])[]): Batch {
  if (sequences.some((ids) => ids.length === 0)) throw new RangeError("pack: a sequence has no tokens");
  return {
    ids: tensor(sequences.flat(), { dtype: "int64" }),
    positions: tensor(
      sequences.flatMap((ids) => ids.map((_, i) => i)),
      { dtype: "int64" },
    ),
    lengths: sequences.map((ids) => ids.length),
  };
}

/** Where each sequence begins in a batch, and one past the end of the last. */
export function offsets(lengths: readonly number[]): number[] {
  const starts = [0];
  for (const length of lengths) starts.push((starts.at(-1) as number) + length);
  return starts;
}
