import type { Answer, Settings } from "../ui/api.ts";

/** An unfinished answer. What is not chosen yet is null, so that it is never read as a low number. */
export interface Draft {
  ranks: (number | null)[];
  preference: number | null;
  bothBad: boolean;
  ratings: Record<string, (number | null)[]>;
  flags: Record<string, boolean[]>;
  text: string;
  comment: string;
}

/** Letters that completions are called by. */
export const letters = "ABCDEFGHI";

export function emptyDraft(settings: Settings, completions: readonly string[]): Draft {
  const each = <T>(value: T) => completions.map(() => value);
  return {
    ranks: each(null),
    preference: null,
    bothBad: false,
    ratings: Object.fromEntries(settings.rubric.map(({ name }) => [name, each(null)])),
    flags: Object.fromEntries(settings.flags.map((name) => [name, each(false)])),
    // The labeler edits the task's response if it has one.
    text: settings.kind === "demonstration" ? (completions[0] ?? "") : "",
    comment: "",
  };
}

/** Converts a saved draft, or an answer to be revised, to a draft with the fields that the project asks for now. */
export function toDraft(
  saved: Answer | Partial<Draft>,
  settings: Settings,
  completions: readonly string[],
): Draft {
  const empty = emptyDraft(settings, completions);
  const withSaved = <T>(lists: Record<string, T[]>, savedLists: Record<string, T[]> = {}) =>
    Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, savedLists[name] ?? list]));
  return {
    ranks: saved.ranks ?? empty.ranks,
    preference: saved.preference ?? null,
    bothBad: saved.bothBad ?? false,
    ratings: withSaved(empty.ratings, saved.ratings),
    flags: withSaved(empty.flags, saved.flags),
    text: saved.text ?? empty.text,
    comment: saved.comment ?? "",
  };
}

/** Converts a draft to an answer, or says what is missing. */
export function toAnswer(draft: Draft, { kind, rubric }: Settings): { answer: Answer } | { missing: string } {
  const answer: Answer = {};
  if (kind === "ranking") {
    const unranked = draft.ranks.indexOf(null);
    if (unranked >= 0) return { missing: `Rank answer ${letters[unranked]}.` };
    answer.ranks = draft.ranks as number[];
  }
  if (kind === "pairwise") {
    if (draft.bothBad) answer.bothBad = true;
    else if (draft.preference === null)
      return { missing: "Say which answer is better, or that both are bad." };
    else answer.preference = draft.preference;
  }
  if (kind === "demonstration") {
    if (!draft.text.trim()) return { missing: "Write a response." };
    answer.text = draft.text;
  } else {
    for (const { name } of rubric) {
      const unrated = (draft.ratings[name] ?? []).indexOf(null);
      if (unrated >= 0) return { missing: `Rate answer ${letters[unrated]} on ${name}.` };
    }
    if (rubric.length) answer.ratings = draft.ratings as Record<string, number[]>;
    const flagged = Object.entries(draft.flags).filter(([, marks]) => marks.some(Boolean));
    if (flagged.length) answer.flags = Object.fromEntries(flagged);
  }
  if (draft.comment.trim()) answer.comment = draft.comment;
  return { answer };
}

/** Renumbers ranks to 1, 2, 3… without gaps, in the same order. */
export function denseRanks(ranks: readonly (number | null)[]): (number | null)[] {
  const used = [...new Set(ranks.filter((rank) => rank !== null))].sort((a, b) => a - b);
  return ranks.map((rank) => (rank === null ? null : used.indexOf(rank) + 1));
}

/** Gives a completion the next free rank. @param tie gives it the same rank as the last one instead */
export function appendRank(
  ranks: readonly (number | null)[],
  completion: number,
  tie = false,
): (number | null)[] {
  const others = denseRanks(ranks.map((rank, i) => (i === completion ? null : rank)));
  const last = Math.max(0, ...others.filter((rank) => rank !== null));
  others[completion] = tie && last > 0 ? last : last + 1;
  return others;
}

/** Moves a completion to a rank, tied with those that have it; 1.5 is between 1 and 2. Other ties stay. */
export const moveToRank = (ranks: readonly (number | null)[], completion: number, rank: number | null) =>
  denseRanks(ranks.map((other, i) => (i === completion ? rank : other)));

/** Removes the last rank, from all completions that have it. */
export function removeLastRank(ranks: readonly (number | null)[]): (number | null)[] {
  const last = Math.max(0, ...ranks.filter((rank) => rank !== null));
  return ranks.map((rank) => (rank === last ? null : rank));
}
