import type { Batch } from "../models/attention.ts";
import { tensor } from "../tensor/index.ts";

/** Token ids of a prompt and of a response to it. */
export interface Row {
  promptTokens: readonly number[];
  tokens: readonly number[];
}

/** Tokens of rows, prompts and responses together. */
export const countTokens = (rows: readonly Row[]): number =>
  rows.reduce((sum, { promptTokens: prompt, tokens: response }) => sum + prompt.length + response.length, 0);

/** Sequences of token ids laid end to end. @throws RangeError for an empty one */
export function pack(sequences: readonly (readonly number[])[]): Batch {
  return packRows(sequences.map((promptTokens) => ({ promptTokens, tokens: [] }))).batch;
}

/**
 * Prompts with their responses, laid end to end. Where rows that follow each other have the same prompt and it is long
 * enough, it is there once and their responses branch off it: the same numbers for less work.
 * @returns the batch, and where token `t` of a row (prompt and response together) is in it
 */
export function packRows(rows: readonly Row[]): { batch: Batch; place: (row: number, t: number) => number } {
  const ids: number[] = [];
  const positions: number[] = [];
  const lengths: number[] = [];
  const branches: number[][] = [];
  const starts: { prompt: number; response: number }[] = [];
  const add = (tokens: readonly number[], from: number) => {
    for (let i = 0; i < tokens.length; i++) {
      ids.push(tokens[i] as number);
      positions.push(from + i);
    }
  };
  for (const [i, row] of rows.entries()) {
    const { promptTokens: prompt, tokens: response } = row;
    if (prompt.length === 0) throw new RangeError("pack: a sequence has no tokens");
    if (!sharesPrompt(row, rows[i - 1], lengths.at(-1) ?? 0)) {
      starts.push({ prompt: ids.length, response: ids.length + prompt.length });
      add(prompt, 0);
      lengths.push(prompt.length);
      branches.push([]);
    } else starts.push({ prompt: (starts.at(-1) as { prompt: number }).prompt, response: ids.length });
    add(response, prompt.length);
    lengths[lengths.length - 1] = (lengths.at(-1) as number) + response.length;
    branches.at(-1)?.push(response.length);
  }
  const int = (values: number[]) => tensor(values, { dtype: "int64" });
  return {
    batch: {
      ids: int(ids),
      positions: int(positions),
      lengths,
      branches: branches.map((of) => of.filter((size) => size > 0)),
    },
    place(row, t) {
      const { prompt, response } = starts[row] as { prompt: number; response: number };
      const length = (rows[row] as Row).promptTokens.length;
      return t < length ? prompt + t : response + t - length;
    },
  };
}

/** Pairs of tokens whose attention takes as long as all else that is computed for one token: some hundreds, measured. */
const pairsPerToken = 500;

/**
 * Whether a row's response should branch off the sequence that ends with the previous row. That saves its prompt, but
 * attention within a sequence of branches looks at every pair of tokens, those of different branches too.
 */
function sharesPrompt(
  { promptTokens: prompt, tokens: response }: Row,
  previous: Row | undefined,
  length: number,
): boolean {
  const more = response.length;
  if (!more || !previous?.tokens.length) return false;
  if (prompt.length * pairsPerToken < 2 * length * more + more * more) return false;
  return (
    previous.promptTokens === prompt ||
    (previous.promptTokens.length === prompt.length &&
      previous.promptTokens.every((id, i) => id === prompt[i]))
  );
}

/** Rows that follow each other in groups that pack into at most `tokens` tokens, or of one. */
export function batchRows<T extends Row>(rows: readonly T[], tokens: number): T[][] {
  const batches: T[][] = [];
  let room = 0;
  let sequence = 0;
  for (const row of rows) {
    const whole = row.promptTokens.length + row.tokens.length;
    const shared = sharesPrompt(row, batches.at(-1)?.at(-1), sequence);
    const cost = shared ? row.tokens.length : whole;
    if (cost > room || !batches.length) {
      batches.push([]);
      room = tokens - whole;
      sequence = whole;
    } else {
      room -= cost;
      sequence = shared ? sequence + cost : whole;
    }
    batches.at(-1)?.push(row);
  }
  return batches;
}
