import type { Answer } from "./api.ts";
import { letters } from "./draft.ts";

/** An answer in a line. */
export function saying({ ranks, preference, bothBad, ratings = {}, flags = {}, text, skip }: Answer): string {
  const parts = Object.entries(ratings).map(([name, list]) => `${name} ${list.join(", ")}`);
  for (const [flag, marks] of Object.entries(flags))
    parts.push(`${flag}: ${marks.flatMap((mark, i) => (mark ? [letters[i]] : [])).join(", ") || "none"}`);
  if (skip !== undefined) parts.unshift(`skipped: ${skip}`);
  if (bothBad) parts.unshift("both bad");
  if (preference !== undefined) parts.unshift(`${preference < 5 ? "A" : "B"} (${preference} of 8)`);
  if (ranks) parts.unshift(ranks.map((rank, i) => `${letters[i]} ${rank}`).join(", "));
  if (text !== undefined) parts.unshift(text.length > 100 ? `${text.slice(0, 100)} …` : text);
  return parts.join("; ");
}
