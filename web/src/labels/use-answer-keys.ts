import { useRef } from "react";
import type { Settings } from "../ui/api.ts";
import { type Draft, letters, place, unplace } from "./draft.ts";

/** Keys that answer. @param count of completions @param compare marks how they differ, or no longer */
export function useAnswerKeys(
  kind: Settings["kind"],
  count: number,
  update: (part: (draft: Draft) => Partial<Draft>) => void,
  say: (what: string) => void,
  compare: () => void,
): Record<string, () => void> {
  const tie = useRef(false);
  if (kind === "pairwise") {
    const bothBad = () => update(({ bothBad }) => ({ bothBad: !bothBad, preference: null }));
    const prefer = Array.from({ length: 8 }, (_, i): [string, () => void] => [
      String(i + 1),
      () => update(() => ({ preference: i + 1, bothBad: false })),
    ]);
    return { ...Object.fromEntries(prefer), 0: bothBad, x: bothBad, d: compare };
  }
  if (kind === "ranking") {
    const next = Array.from({ length: count }, (_, i): [string, () => void] => [
      letters[i]?.toLowerCase() as string,
      () => {
        update(({ ranks }) => ({ ranks: place(ranks, i, tie.current) }));
        tie.current = false;
      },
    ]);
    return {
      ...Object.fromEntries(next),
      "=": () => {
        tie.current = true;
        say("The next one is level with the last.");
      },
      Backspace: () => update(({ ranks }) => ({ ranks: unplace(ranks) })),
      "/": compare,
    };
  }
  return count > 1 ? { d: compare } : {};
}
