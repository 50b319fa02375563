import { batchRows, type Row } from "../batch/pack.ts";
import { layOut, responseLogprobs, scoreAll, spread } from "../batch/score.ts";
import type { Message } from "../data/records.ts";
import { bootstrap, type Interval, klEstimate, mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import { generate, type Response } from "../rollout/generate.ts";
import { noGrad, scope } from "../tensor/index.ts";
import { encodeExample, encodePrompt } from "../text/chat.ts";

/** How a model answers held-out prompts. Intervals are 95 %, bootstrapped over prompts. */
export interface Evaluation {
  responses: Response[];
  /** Gold score of each response. */
  golds: number[];
  gold: Interval;
  /** Score by the reward model. */
  proxy: Interval;
  /** Nats a response to the reference, the k1 estimate on these samples. */
  kl: number;
  /** Tokens a response. */
  length: number;
  /** Share of distinct words and pairs of words over all responses. */
  distinct1: number;
  distinct2: number;
  /** Share that reached a stop token. */
  finished: number;
}

export interface EvaluateOptions {
  model: Model;
  /** What the KL is measured to. */
  reference: Model;
  judge: Model;
  prompts: readonly Message[][];
  /** The truth about a response, which no model saw. */
  gold: (prompt: number, response: Response) => number;
  samples?: number;
  maxTokens: number;
  temperature?: number;
  /** Answers decoded together. */
  batchSize?: number;
  seed?: number;
  signal?: AbortSignal | undefined;
}

/** Samples answers to each prompt and measures them: truth, reward model, drift from the reference, length, variety. */
export async function evaluate({
  model,
  reference,
  judge,
  prompts,
  gold,
  ...options
}: EvaluateOptions): Promise<Evaluation> {
  const { temperature = 1 } = options;
  const encoded = prompts.map((prompt) => encodePrompt(model.text, prompt));
  const responses = await generate(model, encoded, { ...options, temperature });
  const golds = responses.map((response) => gold(response.prompt, response));
  const scores = scoreAll(
    judge,
    responses.map(({ prompt, text }) => encodeExample(judge.text, prompts[prompt] as Message[], text || " ")),
  );
  const rows = responses.map(({ prompt, tokens }) => ({
    prompt: encoded[prompt] as number[],
    response: tokens,
  }));
  // One response to each prompt does for a mean that is shown to a tenth of a nat.
  const first = rows.filter((_, i) => responses[i]?.prompt !== responses[i - 1]?.prompt);
  const overPrompts = (values: readonly number[]): Interval => {
    const byPrompt = prompts.map((_, i) => mean(values.filter((_, row) => responses[row]?.prompt === i)));
    return bootstrap(byPrompt, mean);
  };
  return {
    responses,
    golds,
    gold: overPrompts(golds),
    proxy: overPrompts(scores),
    kl: model === reference ? 0 : mean(responseKl(model, reference, first, temperature)),
    length: mean(responses.map(({ tokens }) => tokens.length)),
    distinct1: distinct(
      responses.map(({ text }) => text),
      1,
    ),
    distinct2: distinct(
      responses.map(({ text }) => text),
      2,
    ),
    finished: mean(responses.map(({ finished }) => Number(finished))),
  };
}

/** log π − log π_ref of each whole response, in nats. */
export function responseKl(model: Model, reference: Model, rows: readonly Row[], temperature = 1): number[] {
  return batchRows(rows, 2048).flatMap((batch) =>
    noGrad(() =>
      scope(() => {
        const layout = layOut(batch);
        const logprobs = (of: Model) => spread(layout, responseLogprobs(of, layout, temperature));
        return klEstimate("k1", logprobs(model), logprobs(reference)).sum(1).toArray();
      }),
    ),
  );
}

/** Distinct n-grams of words over all n-grams (Li et al. 2016): low where texts repeat themselves or each other. */
export function distinct(texts: readonly string[], n: number): number {
  const grams = texts.flatMap((text) => {
    const words = text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
    return words.slice(n - 1).map((_, i) => words.slice(i, i + n).join(" "));
  });
  return grams.length ? new Set(grams).size / grams.length : 0;
}

/** Mean difference of two evaluations of the same prompts, paired by prompt, with its 95 % interval. */
export function goldDifference(a: Evaluation, b: Evaluation, prompts: number): Interval {
  const of = ({ responses, golds }: Evaluation, i: number) =>
    mean(golds.filter((_, row) => responses[row]?.prompt === i));
  return bootstrap(
    Array.from({ length: prompts }, (_, i) => of(a, i) - of(b, i)),
    mean,
  );
}
