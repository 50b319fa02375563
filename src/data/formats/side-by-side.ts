import { z } from "zod";
import { responseColumns } from "../response-columns.ts";
import {
  comment,
  type Draft,
  defineFormat,
  identifier,
  omitUndefined,
  skill,
  type Text,
  text,
  toPrompt,
  toReply,
} from "./format.ts";

// Answers to one prompt in columns of their own, as spreadsheets and survey tools have them.

/** A tie, or which answer is better: by its number, its letter, or either after a word such as "response". */
const preferred = z
  .union([z.string(), z.number()])
  .transform((value, context) => {
    const word = String(value).trim().toLowerCase();
    if (word === "") return undefined;
    if (/^(0|tie|equal|same|both|neither)\b/.test(word)) return 0;
    const [, digit, letter] = /^(?:[a-z]+[\s_-]*)?([1-9])$|^(?:[a-z]+[\s_-]+)?([a-i])$/.exec(word) ?? [];
    if (digit) return Number(digit);
    if (letter) return Number.parseInt(letter, 36) - 9;
    context.addIssue({ code: "custom", message: 'expected 1, 2, … or A, B, …; "tie" for equal answers' });
    return z.NEVER;
  })
  .optional();

const sideBySide = z.object({
  prompt: text,
  ...Object.fromEntries(responseColumns.map((name) => [name, text.optional()])),
  preferred,
  id: identifier,
  labeler: identifier,
  comment,
  skill,
});

function read({ prompt, preferred, ...row }: z.infer<typeof sideBySide>): Draft[] | string {
  const answers = row as Record<string, Text | undefined>;
  const filled = responseColumns.filter((name) => answers[name] !== undefined && answers[name] !== "");
  const better = responseColumns[(preferred ?? 0) - 1];
  if (better && !filled.includes(better)) return "the preferred answer is missing";
  const completions = filled.map((name) => toReply(answers[name] as Text));
  const ranks =
    preferred === undefined
      ? undefined
      : filled.map((name) => Number(better !== undefined && name !== better));
  const { id, labeler, comment, skill } = row;
  return [
    { prompt: toPrompt(prompt), completions, ...omitUndefined({ ranks, id, labeler, comment, skill }) },
  ];
}

/** Answers of which a person preferred one. */
export const judgedSideBySide = defineFormat(
  {
    name: "answers side by side, judged",
    kind: "comparison",
    fields: ["prompt", "response_1", "response_2", "preferred"],
  },
  sideBySide,
  read,
);

/** Answers to be judged. */
export const answersSideBySide = defineFormat(
  { name: "answers side by side", kind: "completions", fields: ["prompt", "response_1", "response_2"] },
  sideBySide,
  read,
);
