import { z } from "zod";
import {
  comment,
  defineFormat,
  identifier,
  models,
  omitUndefined,
  probability,
  rank,
  skill,
  strength,
  text,
  toPrompt,
  toReply,
  weight,
} from "./format.ts";

/** Completions of a prompt, each with a rank. */
export const rankings = defineFormat(
  { name: "rankings", kind: "comparison", fields: ["prompt", "completions", "ranks"] },
  z
    .object({
      prompt: text,
      completions: z.array(text).min(2),
      ranks: z.array(rank),
      margins: z.number().optional(),
      weight,
      probability,
      labeler: identifier,
      comment,
      strength,
      models,
      skill,
    })
    .refine((row) => row.ranks.length === row.completions.length, {
      path: ["ranks"],
      error: "expected one rank per completion",
    }),
  ({ prompt, completions, ranks, ...rest }) => [
    { prompt: toPrompt(prompt), completions: completions.map(toReply), ranks, ...omitUndefined(rest) },
  ],
);

/** Completions to be judged by labelers. */
export const promptAndCompletions = defineFormat(
  { name: "prompt and completions", kind: "completions", fields: ["prompt", "completions"] },
  z.object({ prompt: text, completions: z.array(text).min(1), id: identifier, models, skill }),
  ({ prompt, completions, ...rest }) => [
    { prompt: toPrompt(prompt), completions: completions.map(toReply), ...omitUndefined(rest) },
  ],
);

const round = z.object({ principle: z.string(), critique: z.string(), revision: z.string() });
/** Output of `plumbline constitution revise`. */
export const revisions = defineFormat(
  { name: "revisions", kind: "demonstration", fields: ["prompt", "response", "rounds"] },
  z.object({
    prompt: text,
    response: z.string(),
    rounds: z.array(round),
    id: identifier,
    labeler: identifier,
  }),
  ({ prompt, response, rounds: all, ...rest }) => {
    // Rounds without a revision are left out.
    const rounds = all
      .filter(({ revision }) => revision.trim() !== "")
      .map(({ principle, critique, revision }) => ({
        text: revision,
        comment: `${principle}: ${critique}`,
      }));
    const completions = [rounds.at(-1)?.text ?? response];
    return [
      {
        prompt: toPrompt(prompt),
        completions,
        revisions: { from: response, rounds },
        ...omitUndefined(rest),
      },
    ];
  },
);
