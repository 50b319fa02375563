import { useEffect, useRef } from "react";

/** Whether a key press is meant for what has the focus: a text being written, or something that Enter presses. */
function isTaken({ target, key, ctrlKey, metaKey, altKey }: KeyboardEvent): boolean {
  if (ctrlKey || metaKey || altKey) return true;
  const element = target as HTMLElement;
  if (element.isContentEditable || element.closest("textarea, select, dialog")) return true;
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

/** Seconds that the page was looked at since `about` changed. */
export function useSeconds(about: string): () => number {
  const seen = useRef({ about, sum: 0, since: performance.now() });
  if (seen.current.about !== about) seen.current = { about, sum: 0, since: performance.now() };
  useEffect(() => {
    const listen = () => {
      const now = performance.now();
      if (document.hidden) seen.current.sum += now - seen.current.since;
      seen.current.since = now;
    };
    document.addEventListener("visibilitychange", listen);
    return () => document.removeEventListener("visibilitychange", listen);
  }, []);
  return () => {
    const { sum, since } = seen.current;
    return Math.round((sum + (document.hidden ? 0 : performance.now() - since)) / 100) / 10;
  };
}
