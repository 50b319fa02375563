import { useState } from "react";
import { basePath } from "./api.ts";

// Keeps input that is not sent to the server yet in localStorage, so that it survives closing the page.

/** Keeps our keys apart from those of other applications at the same host. */
const prefix = `plumbline${basePath}:`;

/** Reads a stored value; undefined if there is none. */
export function readStored<T>(key: string): T | undefined {
  try {
    return JSON.parse(localStorage.getItem(prefix + key) ?? "null") ?? undefined;
  } catch {
    return undefined;
  }
}

/** Stores a value. @param value undefined to remove it */
export function store(key: string, value: unknown): void {
  try {
    if (value === undefined) localStorage.removeItem(prefix + key);
    else localStorage.setItem(prefix + key, JSON.stringify(value));
  } catch {
    // Storage is disabled or full: the value lives in the page only.
  }
}

/** Removes all values that this application has stored. */
export function clearStored(): void {
  for (const key of Object.keys(localStorage)) if (key.startsWith(prefix)) localStorage.removeItem(key);
}

/** React state that is restored when the page opens again. */
export function usePersistentState<T>(key: string): [T | undefined, (value: T | undefined) => void] {
  const [value, setValue] = useState(() => readStored<T>(key));
  const set = (next: T | undefined) => {
    setValue(next);
    store(key, next);
  };
  return [value, set];
}
