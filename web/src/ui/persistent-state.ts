import { useState } from "react";

// What somebody wrote and the server does not have yet. The browser keeps it when the page goes.

export function kept<T>(key: string): T | undefined {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

/** @param value undefined when there is nothing left to keep */
export function keep(key: string, value: unknown): void {
  try {
    if (value === undefined) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // The browser keeps nothing, or no more: then it is on the page alone.
  }
}

/** A state that is still there when the page opens again. */
export function useKept<T>(key: string): [T | undefined, (value: T | undefined) => void] {
  const [value, setValue] = useState(() => kept<T>(key));
  const set = (next: T | undefined) => {
    setValue(next);
    keep(key, next);
  };
  return [value, set];
}
