import { groupBy } from "../statistics/groups.ts";
import { type Judgement, pairKey } from "./judgements.ts";

/** A labeler's answer about the two completions of a pair. */
export interface LabelerPreference {
  task: string;
  labeler: string;
  /** 0 if the second is preferred, 1 for a tie, 2 if the first is, 3 if both are bad. */
  category: number;
}

/** Categories of a preference. */
export const categories = [0, 1, 2, 3] as const;
const bothBad = 3;

/**
 * Groups the answers of all judgements by pair of completions. "Both are bad" is an answer of its own: it agrees with itself
 * only.
 */
export function preferencesByPair(judgements: readonly Judgement[]): Map<string, LabelerPreference[]> {
  const rows = judgements.flatMap(({ task, labeler, answer, preferences }) =>
    answer.bothBad
      ? [{ pair: pairKey(task, { first: 0, second: 1 }), task, labeler, category: bothBad }]
      : preferences.map((preference) => ({
          pair: pairKey(task, preference),
          task,
          labeler,
          category: Math.sign(preference.margin) + 1,
        })),
  );
  return groupBy(rows, ({ pair }) => pair);
}

/** Returns the category with the two completions exchanged. */
export const exchanged = (category: number): number => (category === bothBad ? bothBad : 2 - category);

/** Returns 1 if the first completion is preferred, −1 if the second, 0 for a tie and if both are bad. */
export const signOf = (category: number): number => (category === bothBad ? 0 : category - 1);

/** Counts the preferences of a pair in each category. */
export const categoryCounts = (preferences: readonly LabelerPreference[]): number[] =>
  categories.map((category) => preferences.filter((preference) => preference.category === category).length);

/** Whether more labelers prefer one completion of a pair than prefer the other, and more than call both bad. */
export function hasMajority(preferences: readonly LabelerPreference[]): boolean {
  const [second, , first, bad] = categoryCounts(preferences) as [number, number, number, number];
  return first !== second && Math.max(first, second) > bad;
}
