import { z } from "zod";
import type { Message } from "../records.ts";
import {
  conversation,
  type Draft,
  defineFormat,
  identifier,
  models,
  omitUndefined,
  userMessage,
} from "./format.ts";

const responseSchema = z.object({ value: z.unknown(), user_id: identifier });
const rankingSchema = z.array(z.object({ value: z.string(), rank: z.number() })).min(2);
/** Records of an Argilla data set with a ranking or label question. */
export const argilla = defineFormat(
  { name: "Argilla", kind: "comparison", fields: ["fields", "responses"], strict: false },
  z.object({
    fields: z.record(z.string(), z.unknown()),
    responses: z.record(z.string(), z.array(responseSchema)),
    metadata: z.object({ models }).catch({}).optional(),
  }),
  ({ fields, responses, metadata }) => {
    const [[, prompt] = [], ...others] = Object.entries(fields);
    const messages = toMessages(prompt);
    const replies = others.flatMap(([name, value]) => (typeof value === "string" ? [{ name, value }] : []));
    if (!messages || replies.length < 2) return "not a prompt and two or more answers";
    const drafts = Object.values(responses)
      .flat()
      .flatMap(({ value, user_id }): Draft[] => {
        const ranks = toRanks(
          value,
          replies.map(({ name }) => name),
        );
        const completions = replies.map(({ value }) => value);
        return ranks
          ? [
              {
                prompt: messages,
                completions,
                ranks,
                ...omitUndefined({ labeler: user_id, models: metadata?.models }),
              },
            ]
          : [];
      });
    return drafts.length > 0 ? drafts : "no ranking of the answers, nor a choice";
  },
);

/** Converts a text field or chat field to messages. */
function toMessages(field: unknown): Message[] | undefined {
  if (typeof field === "string") return [userMessage(field)];
  return conversation.safeParse(field).data;
}

/** Converts a response to ranks of the fields: of a ranking question its ranks, of a label question 0 for the chosen field. */
function toRanks(value: unknown, fields: readonly string[]): number[] | undefined {
  const ranking = rankingSchema.safeParse(value).data;
  if (ranking) {
    const ranks = fields.map((field) => ranking.find((entry) => entry.value === field)?.rank);
    return ranks.every((rank) => rank !== undefined) ? ranks : undefined;
  }
  return typeof value === "string" && fields.includes(value)
    ? fields.map((field) => Number(field !== value))
    : undefined;
}
