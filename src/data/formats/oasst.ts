import { z } from "zod";
import type { Message } from "../records.ts";
import { type Draft, defineFormat, rank } from "./format.ts";

interface Node {
  text: string;
  role: "prompter" | "assistant";
  rank?: number | null | undefined;
  deleted?: boolean | undefined;
  replies?: Node[] | undefined;
}
const node: z.ZodType<Node> = z.object({
  text: z.string(),
  role: z.enum(["prompter", "assistant"]),
  rank: rank.nullish(),
  deleted: z.boolean().optional(),
  get replies() {
    return z.array(node).optional();
  },
});
/** Open Assistant's message trees (Köpf et al. 2023). */
export const oasst = defineFormat(
  { name: "Open Assistant tree", kind: "comparison", fields: ["message_tree_id", "prompt"], strict: false },
  z.object({ prompt: node }),
  ({ prompt }) => {
    const groups = rankedGroups(prompt, []);
    return groups.length > 0 ? groups : "no ranked replies";
  },
);

/** Reads one record for each prompter message in the tree that has two or more ranked replies. */
function rankedGroups(message: Node, before: Message[]): Draft[] {
  const prompt = [...before, { role: roleOf(message), content: message.text }];
  const replies = message.replies ?? [];
  const ranked = replies.flatMap(({ role, text, rank, deleted }) =>
    role === "assistant" && typeof rank === "number" && !deleted ? [{ text, rank }] : [],
  );
  const group: Draft = { prompt, completions: ranked.map((r) => r.text), ranks: ranked.map((r) => r.rank) };
  return [...(ranked.length >= 2 ? [group] : []), ...replies.flatMap((reply) => rankedGroups(reply, prompt))];
}

const roleOf = ({ role }: Node): Message["role"] => (role === "prompter" ? "user" : "assistant");
