import type { Message } from "../records.ts";
import type { Text } from "./format.ts";

/** Whether a text is a dialogue in the notation of Anthropic's hh-rlhf. */
export const isTranscript = (value: string): boolean => value.startsWith("\n\nHuman:");

/** Parses hh-rlhf's `\n\nHuman: … \n\nAssistant: …` to messages. Other values are returned unchanged. */
export function parseTranscript(value: Text): Text {
  if (typeof value !== "string" || !isTranscript(value)) return value;
  const [, ...parts] = value.split(/\n\n(Human|Assistant):/);
  const messages: Message[] = [];
  for (let i = 0; i < parts.length; i += 2) {
    messages.push({
      role: parts[i] === "Human" ? "user" : "assistant",
      content: (parts[i + 1] ?? "").trim(),
    });
  }
  return messages;
}
