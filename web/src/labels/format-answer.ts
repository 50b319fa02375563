import type { StoredAnswer } from "../ui/api.ts";
import { letters } from "./draft.ts";

/** Formats an answer in one line of text. */
export function formatAnswer(answer: StoredAnswer): string {
  const { ranks, preference, probability, bothBad, ratings = {}, flags = {}, text, skip } = answer;
  const parts = Object.entries(ratings).map(([name, list]) => `${name} ${list.join(", ")}`);
  for (const [flag, marks] of Object.entries(flags))
    parts.push(`${flag}: ${marks.flatMap((mark, i) => (mark ? [letters[i]] : [])).join(", ") || "none"}`);
  if (probability !== undefined) parts.unshift(`${Math.round(100 * probability)} % sure`);
  if (skip !== undefined) parts.unshift(`skipped: ${skip}`);
  if (bothBad) parts.unshift("both bad");
  if (preference !== undefined) parts.unshift(`${preference < 5 ? "A" : "B"} (${preference} of 8)`);
  if (ranks) parts.unshift(ranks.map((rank, i) => `${letters[i]} ${rank}`).join(", "));
  if (text !== undefined) parts.unshift(text.length > 100 ? `${text.slice(0, 100)} …` : text);
  return parts.join("; ");
}
