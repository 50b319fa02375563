import { z } from "zod";
import { type Message, messageInFileSchema, toolSchema } from "../records.ts";
import { defineFormat, identifier, jsonText, omitUndefined, toDemonstration, tools } from "./format.ts";

/** Roles by the names that data sets have for their speakers. */
const roles: Record<string, Message["role"]> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  chatgpt: "assistant",
  bing: "assistant",
  bard: "assistant",
  model: "assistant",
  assistant: "assistant",
  function_call: "assistant",
  system: "system",
  tool: "tool",
  observation: "tool",
  function_response: "tool",
};

const turn = z
  .object({ from: z.enum(Object.keys(roles)), value: z.string() })
  .transform(({ from, value }): Message => {
    const role = roles[from] as Message["role"];
    const call = from === "function_call" ? jsonText.pipe(toolSchema).safeParse(value).data : undefined;
    return call
      ? { role, content: "", tool_calls: [{ type: "function", function: call }] }
      : { role, content: value };
  });

/** Conversations in the form of ShareGPT, or with messages of role and content. */
export const shareGpt = defineFormat(
  { name: "ShareGPT", kind: "demonstration", fields: ["conversations"], strict: false },
  z.object({
    conversations: z.array(z.union([turn, messageInFileSchema])).min(1),
    system: z.string().nullish(),
    tools: tools.nullish(),
    id: identifier,
  }),
  ({ conversations, system, tools, ...rest }) => {
    // Many conversations begin with an answer whose question is missing.
    const start = conversations.findIndex(({ role }) => role !== "assistant");
    const before: Message[] = system ? [{ role: "system", content: system }] : [];
    const draft = toDemonstration(start < 0 ? [] : [...before, ...conversations.slice(start)]);
    if (typeof draft === "string") return draft;
    return [{ ...draft, ...omitUndefined({ ...rest, ...(tools?.length && { tools }) }) }];
  },
);
