import { useRef } from "react";
import type { Settings } from "../ui/api.ts";
import { appendRank, type Draft, letters, removeLastRank } from "./draft.ts";

/**
 * Returns the keyboard shortcuts for answering a task, by kind.
 * @param count number of completions @param announce shows a status message
 * @param toggleDifferences shows or hides the differences between completions
 */
export function useAnswerKeys(
  kind: Settings["kind"],
  count: number,
  update: (part: (draft: Draft) => Partial<Draft>) => void,
  announce: (message: string) => void,
  toggleDifferences: () => void,
): Record<string, () => void> {
  const isTie = useRef(false);
  if (kind === "pairwise") {
    const bothBad = () => update(({ bothBad }) => ({ bothBad: !bothBad, preference: null }));
    const prefer = Array.from({ length: 8 }, (_, i): [string, () => void] => [
      String(i + 1),
      () => update(() => ({ preference: i + 1, bothBad: false })),
    ]);
    return { ...Object.fromEntries(prefer), 0: bothBad, x: bothBad, d: toggleDifferences };
  }
  if (kind === "ranking") {
    const next = Array.from({ length: count }, (_, i): [string, () => void] => [
      letters[i]?.toLowerCase() as string,
      () => {
        update(({ ranks }) => ({ ranks: appendRank(ranks, i, isTie.current) }));
        isTie.current = false;
      },
    ]);
    return {
      ...Object.fromEntries(next),
      "=": () => {
        isTie.current = true;
        announce("Tie: the next answer gets the same rank as the last.");
      },
      Backspace: () => update(({ ranks }) => ({ ranks: removeLastRank(ranks) })),
      "/": toggleDifferences,
    };
  }
  return count > 1 ? { d: toggleDifferences } : {};
}
