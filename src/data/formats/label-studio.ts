import { z } from "zod";
import { type Draft, defineFormat, omitUndefined, userMessage } from "./format.ts";

const pairwise = z.object({
  type: z.literal("pairwise"),
  value: z.object({ selected: z.enum(["left", "right"]) }),
});
const completedBy = z
  .union([
    z.number().transform(String),
    z.string(),
    z.object({ email: z.string() }).transform(({ email }) => email),
  ])
  .optional()
  .catch(undefined);
/** Label Studio's JSON export of a pairwise project. */
export const labelStudio = defineFormat(
  { name: "Label Studio pairwise", kind: "comparison", fields: ["annotations", "data"], strict: false },
  z.object({
    annotations: z.array(
      z.object({
        completed_by: z.unknown(),
        was_cancelled: z.boolean().optional(),
        lead_time: z.number().nullish(),
        result: z.array(z.unknown()),
      }),
    ),
    data: z.object({ prompt: z.string() }).catchall(z.unknown()),
  }),
  ({ annotations, data: { prompt, ...rest } }) => {
    // The labelling interface is free to name the two answers; they stand left, right.
    const answers = Object.values(rest).filter((value) => typeof value === "string");
    if (answers.length !== 2) return "not a prompt and two answers";
    const drafts = annotations.flatMap(({ completed_by, was_cancelled, lead_time, result }): Draft[] => {
      const choice = result.map((entry) => pairwise.safeParse(entry)).find((entry) => entry.success);
      if (was_cancelled || !choice) return [];
      const ranks = choice.data.value.selected === "left" ? [0, 1] : [1, 0];
      // A number, or the whole user.
      const labeler = completedBy.parse(completed_by);
      const seconds = lead_time ?? undefined;
      return [
        {
          prompt: [userMessage(prompt)],
          completions: answers,
          ranks,
          ...omitUndefined({ labeler, seconds }),
        },
      ];
    });
    return drafts.length > 0 ? drafts : "no choice made";
  },
);
