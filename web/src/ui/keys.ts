import { useEffect, useRef } from "react";

/** Whether a key press is meant for what has the focus: a text being written, or something that Enter presses. */
function isTaken({ target, key, ctrlKey, metaKey, altKey, repeat, isComposing }: KeyboardEvent): boolean {
  // An open dialog has the keys, wherever the focus is; and a key held down would answer the next task too.
  if (repeat || isComposing || document.querySelector("dialog[open]")) return true;
  // From a text box too.
  if (key === "Enter" && (ctrlKey || metaKey)) return false;
  if (ctrlKey || metaKey || altKey) return true;
  const element = target as HTMLElement;
  if (element.isContentEditable || element.closest("textarea, select")) return true;
  if (element instanceof HTMLInputElement) {
    const isChoice = element.type === "radio" || element.type === "checkbox";
    return !isChoice || key === " " || key.startsWith("Arrow");
  }
  return (key === "Enter" || key === " ") && element.closest("button, a, summary") !== null;
}

/** Does what a key says while nothing else takes the key. */
export function useKeys(keys: Record<string, () => void>): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const act = isTaken(event)
        ? undefined
        : latest.current[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}

/** Seconds that the page was looked at while it was `about` this; they go on where they were when it is again. */
export function useSeconds(about: string): () => number {
  const seen = useRef({ about, since: performance.now(), sums: new Map<string, number>() });
  /** Takes the time since it last did so into the sum, if somebody looked. */
  const count = (looked: boolean): number => {
    const { about, since, sums } = seen.current;
    const now = performance.now();
    const sum = (sums.get(about) ?? 0) + (looked ? now - since : 0);
    sums.set(about, sum);
    seen.current.since = now;
    return sum;
  };
  if (seen.current.about !== about) {
    count(!document.hidden);
    seen.current.about = about;
  }
  const latest = useRef(count);
  latest.current = count;
  useEffect(() => {
    const listen = () => latest.current(document.hidden);
    document.addEventListener("visibilitychange", listen);
    return () => document.removeEventListener("visibilitychange", listen);
  }, []);
  return () => Math.round(count(!document.hidden) / 100) / 10;
}
