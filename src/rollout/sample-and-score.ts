import type { Row } from "../batch/pack.ts";
import type { Prompt } from "../data/records.ts";
import type { Model } from "../models/model.ts";
import type { Reward, Sample, Scores } from "../rewards/reward.ts";
import { encodePrompt } from "../text/chat.ts";
import { type GenerateOptions, generate } from "./generate.ts";

/** Responses with their scores, one of each a response. */
export interface Scored {
  rows: Row[];
  /** Which of the prompts each answers. */
  prompts: number[];
  samples: Sample[];
  scores: Scores;
}

/** Samples responses to prompts, all of one together, and scores them. */
export async function sampleScored(
  policy: Model,
  judge: Reward,
  prompts: readonly Prompt[],
  options: GenerateOptions,
): Promise<Scored> {
  const encoded = prompts.map(({ prompt }) => encodePrompt(policy.text, prompt));
  const responses = await generate(policy, encoded, options);
  const samples = responses.map(
    ({ prompt, text, finished }): Sample => ({ ...(prompts[prompt] as Prompt), response: text, finished }),
  );
  return {
    rows: responses.map(({ prompt, tokens }) => ({ prompt: encoded[prompt] as number[], response: tokens })),
    prompts: responses.map(({ prompt }) => prompt),
    samples,
    scores: await judge.score(samples, options.signal),
  };
}

/** Some of them, by their places. */
export const take = ({ rows, prompts, samples, scores }: Scored, places: readonly number[]): Scored => {
  const of = <T>(all: readonly T[]): T[] => places.map((i) => all[i] as T);
  return {
    rows: of(rows),
    prompts: of(prompts),
    samples: of(samples),
    scores: {
      total: of(scores.total),
      parts: Object.fromEntries(Object.entries(scores.parts).map(([name, part]) => [name, of(part)])),
    },
  };
};

/** All of both. */
export const join = (a: Scored, b: Scored): Scored => ({
  rows: [...a.rows, ...b.rows],
  prompts: [...a.prompts, ...b.prompts],
  samples: [...a.samples, ...b.samples],
  scores: {
    total: [...a.scores.total, ...b.scores.total],
    parts: Object.fromEntries(
      Object.entries(b.scores.parts).map(([name, part]) => [
        name,
        [...(a.scores.parts[name] ?? []), ...part],
      ]),
    ),
  },
});
