import { useEffect, useRef } from "react";

/** Whether a key press is for the focused element: text input, or a control that the key operates. */
function isForFocusedElement({
  target,
  key,
  ctrlKey,
  metaKey,
  altKey,
  repeat,
  isComposing,
}: KeyboardEvent): boolean {
  // An open dialog takes all keys. Key repeat is ignored, because a held key would also answer the next task.
  if (repeat || isComposing || document.querySelector("dialog[open]")) return true;
  // Ctrl+Enter submits, also from a text box.
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

/** Calls a function for each key, unless the key is for the focused element or a dialog. @param keys by `event.key` */
export function useKeyboardShortcuts(keys: Record<string, () => void>): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      const action = isForFocusedElement(event)
        ? undefined
        : latest.current[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!action) return;
      event.preventDefault();
      action();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, []);
}

/**
 * Measures the seconds for which the page was visible while it showed an item. The sum continues when the item is shown
 * again.
 * @param item id of what the page shows
 */
export function useActiveSeconds(item: string): () => number {
  const active = useRef({ item, since: performance.now(), sums: new Map<string, number>() });
  /** Adds the time since the last call to the item's sum, if the page was visible. */
  const addTime = (isVisible: boolean): number => {
    const { item, since, sums } = active.current;
    const now = performance.now();
    const sum = (sums.get(item) ?? 0) + (isVisible ? now - since : 0);
    sums.set(item, sum);
    active.current.since = now;
    return sum;
  };
  if (active.current.item !== item) {
    addTime(!document.hidden);
    active.current.item = item;
  }
  const latest = useRef(addTime);
  latest.current = addTime;
  useEffect(() => {
    const listen = () => latest.current(document.hidden);
    document.addEventListener("visibilitychange", listen);
    return () => document.removeEventListener("visibilitychange", listen);
  }, []);
  return () => Math.round(addTime(!document.hidden) / 100) / 10;
}
