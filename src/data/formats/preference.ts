import { z } from "zod";
import {
  comment,
  type Draft,
  defineFormat,
  type Format,
  identifier,
  models,
  omitUndefined,
  probability,
  skill,
  strength,
  type Text,
  text,
  toPrompt,
  toReply,
  userMessage,
  weight,
} from "./format.ts";
import { parseTranscript } from "./transcript.ts";

const pair = z.object({
  prompt: text.optional(),
  chosen: text,
  rejected: text,
  chosen_rating: z.number().optional(),
  rejected_rating: z.number().optional(),
  rating_chosen: z.number().optional(),
  rating_rejected: z.number().optional(),
  margin: z.number().optional(),
  weight,
  probability,
  labeler: identifier,
  comment,
  strength,
  models,
  skill,
});
/** Defines a format whose rows have `chosen` and `rejected`. */
export const pairFormat = (name: string, fields: string[], matches?: Format["matches"]): Format =>
  defineFormat({ name, kind: "comparison", fields, ...omitUndefined({ matches }) }, pair, readPair);

/** TRL's preference formats, more specific ones first. */
export const ratedPreferences = [
  pairFormat("preference with ratings", ["chosen", "rejected", "chosen_rating", "rejected_rating"]),
  pairFormat("preference with ratings", ["chosen", "rejected", "rating_chosen", "rating_rejected"]),
];
export const preference = pairFormat("preference", ["prompt", "chosen", "rejected"]);
export const implicitPreference = pairFormat("preference, implicit prompt", ["chosen", "rejected"]);

const answers = z.array(z.string()).min(1);

/** RewardBench 2's format: answers that are right, and answers that are not. */
export const preferenceLists = defineFormat(
  {
    name: "preference with lists of answers",
    kind: "comparison",
    fields: ["prompt", "chosen", "rejected"],
    matches: ({ chosen, rejected }) =>
      answers.safeParse(chosen).success && answers.safeParse(rejected).success,
  },
  z.object({ prompt: text, chosen: answers, rejected: answers }),
  ({ prompt, chosen, rejected }) => [
    {
      prompt: toPrompt(prompt),
      completions: [...chosen, ...rejected],
      ranks: [...chosen.map(() => 0), ...rejected.map(() => 1)],
    },
  ],
);

function readPair(row: z.infer<typeof pair>): Draft[] | string {
  const good = row.chosen_rating ?? row.rating_chosen ?? 1;
  const bad = row.rejected_rating ?? row.rating_rejected ?? 0;
  if (good < bad) return "chosen is rated below rejected";
  // Many public data sets repeat the prompt in `chosen` and `rejected` beside a `prompt` column: the conversations are used.
  const repeated = Array.isArray(row.chosen) && row.chosen.length > 1;
  const split =
    row.prompt === undefined || repeated
      ? splitImplicit(row.chosen, row.rejected)
      : { prompt: toPrompt(row.prompt), completions: [toReply(row.chosen), toReply(row.rejected)] };
  if (!split) return "differing prefixes";
  const ranks = good === bad ? [0, 0] : [0, 1];
  const { margin: margins, weight, probability, labeler, comment, strength, models, skill } = row;
  const rest = { margins, weight, probability, labeler, comment, strength, models, skill };
  return [{ ...split, ranks, ...omitUndefined(rest) }];
}

/** Splits off the common prefix of `chosen` and `rejected` as the prompt; undefined if there is none. */
function splitImplicit(chosen: Text, rejected: Text): Pick<Draft, "prompt" | "completions"> | undefined {
  const [a, b] = [parseTranscript(chosen), parseTranscript(rejected)];
  if (typeof a === "string" && typeof b === "string") {
    let end = 0;
    while (end < a.length && a[end] === b[end]) end++;
    // Back to a word's end, as TRL does: "blue" and "black" share no "bl".
    const prompt = a.slice(0, Math.max(0, a.lastIndexOf(" ", end)));
    return prompt.trim() === ""
      ? undefined
      : {
          prompt: [userMessage(prompt)],
          completions: [a, b].map((side) => side.slice(prompt.length).trim()),
        };
  }
  if (typeof a === "string" || typeof b === "string") return undefined;
  const prompt = a.slice(0, -1);
  const same = prompt.length > 0 && JSON.stringify(prompt) === JSON.stringify(b.slice(0, -1));
  const replies = a.at(-1)?.role === "assistant" && b.at(-1)?.role === "assistant";
  return same && replies ? { prompt, completions: [toReply(a), toReply(b)] } : undefined;
}
