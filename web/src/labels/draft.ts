import type { Answer, Settings } from "../ui/api.ts";

/** An answer as it grows. What is not chosen yet is null: never a low number. */
export interface Draft {
  ranks: (number | null)[];
  preference: number | null;
  bothBad: boolean;
  ratings: Record<string, (number | null)[]>;
  flags: Record<string, boolean[]>;
  text: string;
  comment: string;
}

export const letters = "ABCDEFGHI";

export function emptyDraft(settings: Settings, completions: readonly string[]): Draft {
  const each = <T>(value: T) => completions.map(() => value);
  return {
    ranks: each(null),
    preference: null,
    bothBad: false,
    ratings: Object.fromEntries(settings.rubric.map(({ name }) => [name, each(null)])),
    flags: Object.fromEntries(settings.flags.map((name) => [name, each(false)])),
    // To be edited, where there is one.
    text: settings.kind === "demonstration" ? (completions[0] ?? "") : "",
    comment: "",
  };
}

/** The draft that an answer was given from, or that was saved; about what the project asks for now. */
export function draftOf(
  saved: Answer | Partial<Draft>,
  settings: Settings,
  completions: readonly string[],
): Draft {
  const empty = emptyDraft(settings, completions);
  const asked = <T>(lists: Record<string, T[]>, had: Record<string, T[]> = {}) =>
    Object.fromEntries(Object.entries(lists).map(([name, list]) => [name, had[name] ?? list]));
  return {
    ranks: saved.ranks ?? empty.ranks,
    preference: saved.preference ?? null,
    bothBad: saved.bothBad ?? false,
    ratings: asked(empty.ratings, saved.ratings),
    flags: asked(empty.flags, saved.flags),
    text: saved.text ?? empty.text,
    comment: saved.comment ?? "",
  };
}

/** The answer that a draft amounts to, or what is missing from it. */
export function answerOf(draft: Draft, { kind, rubric }: Settings): { answer: Answer } | { missing: string } {
  const answer: Answer = {};
  if (kind === "ranking") {
    const open = draft.ranks.indexOf(null);
    if (open >= 0) return { missing: `Rank answer ${letters[open]}.` };
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
      const open = (draft.ratings[name] ?? []).indexOf(null);
      if (open >= 0) return { missing: `Rate answer ${letters[open]} on ${name}.` };
    }
    if (rubric.length) answer.ratings = draft.ratings as Record<string, number[]>;
    const marked = Object.entries(draft.flags).filter(([, marks]) => marks.some(Boolean));
    if (marked.length) answer.flags = Object.fromEntries(marked);
  }
  if (draft.comment.trim()) answer.comment = draft.comment;
  return { answer };
}

/** Ranks 1, 2, 3… without gaps, in the same order. */
export function dense(ranks: readonly (number | null)[]): (number | null)[] {
  const used = [...new Set(ranks.filter((rank) => rank !== null))].sort((a, b) => a - b);
  return ranks.map((rank) => (rank === null ? null : used.indexOf(rank) + 1));
}

/** Puts a completion behind those that have a rank, or level with the last of them. */
export function place(ranks: readonly (number | null)[], completion: number, tie = false): (number | null)[] {
  const others = dense(ranks.map((rank, i) => (i === completion ? null : rank)));
  const last = Math.max(0, ...others.filter((rank) => rank !== null));
  others[completion] = tie && last > 0 ? last : last + 1;
  return others;
}

/** Puts a completion level with those of a rank, or at 1.5 between 1 and 2. All others stay as level as they were. */
export const move = (ranks: readonly (number | null)[], completion: number, rank: number | null) =>
  dense(ranks.map((own, i) => (i === completion ? rank : own)));

/** Takes the rank from those that were placed last. */
export function unplace(ranks: readonly (number | null)[]): (number | null)[] {
  const last = Math.max(0, ...ranks.filter((rank) => rank !== null));
  return ranks.map((rank) => (rank === last ? null : rank));
}
