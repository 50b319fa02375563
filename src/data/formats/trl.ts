import { z } from "zod";
import { toolSchema } from "../records.ts";
import {
  comment,
  conversation,
  defineFormat,
  identifier,
  jsonText,
  omitUndefined,
  skill,
  text,
  thumbCriterion,
  toCompletion,
  toDemonstration,
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

/** Functions that the model may call: a list of JSON schemas, or its JSON, as tables hold it. */
const tools = z
  .union([z.array(toolSchema), jsonText.pipe(z.array(toolSchema))], {
    error: "expected a list of JSON schemas",
  })
  .optional();

export const promptCompletion = defineFormat(
  { name: "prompt-completion", kind: "demonstration", fields: ["prompt", "completion"] },
  z.object({ prompt: text, completion: text, tools, labeler: identifier, comment, skill }),
  ({ prompt, completion, ...rest }) => {
    const reply = typeof completion === "string" ? undefined : completion.at(-1);
    const reading = reply ? toCompletion(reply) : { completions: [toReply(completion)] };
    return [{ prompt: toPrompt(prompt), ...reading, ...omitUndefined(rest) }];
  },
);

export const messages = defineFormat(
  { name: "messages", kind: "demonstration", fields: ["messages"] },
  z.object({ messages: conversation, tools }),
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
