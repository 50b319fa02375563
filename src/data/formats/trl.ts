import { z } from "zod";
import {
  comment,
  conversation,
  defineFormat,
  identifier,
  omitUndefined,
  skill,
  text,
  thumbCriterion,
  toCompletion,
  toDemonstration,
  tools,
  toPrompt,
  toReply,
} from "./format.ts";

export const unpaired = defineFormat(
  { name: "unpaired", kind: "unpaired", fields: ["prompt", "completion", "label"] },
  z.object({ prompt: text, completion: text, label: z.boolean(), labeler: identifier }),
  ({ prompt, completion, label, labeler }) => [
    {
      prompt: toPrompt(prompt),
      completions: [toReply(completion)],
      ratings: { [thumbCriterion]: [Number(label)] },
      ...omitUndefined({ labeler }),
    },
  ],
);

export const promptCompletion = defineFormat(
  { name: "prompt-completion", kind: "demonstration", fields: ["prompt", "completion"] },
  z.object({ prompt: text, completion: text, tools: tools.optional(), labeler: identifier, comment, skill }),
  ({ prompt, completion, ...rest }) => {
    const reply = typeof completion === "string" ? undefined : completion.at(-1);
    const reading = reply ? toCompletion(reply) : { completions: [toReply(completion)] };
    return [{ prompt: toPrompt(prompt), ...reading, ...omitUndefined(rest) }];
  },
);

export const messages = defineFormat(
  { name: "messages", kind: "demonstration", fields: ["messages"] },
  z.object({ messages: conversation, tools: tools.optional() }),
  ({ messages, ...rest }) => {
    const draft = toDemonstration(messages);
    return typeof draft === "string" ? draft : [{ ...draft, ...omitUndefined(rest) }];
  },
);

export const plainText = defineFormat(
  { name: "text", kind: "text", fields: ["text"] },
  z.object({ text: z.string() }),
  (row) => [{ prompt: [], completions: [row.text] }],
);

export const promptOnly = defineFormat(
  { name: "prompt-only", kind: "prompt", fields: ["prompt"] },
  z.object({ prompt: text, id: identifier, skill }),
  ({ prompt, ...rest }) => [{ prompt: toPrompt(prompt), completions: [], ...omitUndefined(rest) }],
);
