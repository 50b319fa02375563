import { useEffect, useRef } from "react";
import { call } from "../ui/api.ts";
import { readStored, store } from "../ui/persistent-state.ts";
import type { Draft } from "./draft.ts";

/** Largest draft that is sent with `keepalive`, which browsers limit to 64 KB for the whole request. */
const maxKeepaliveBytes = 60_000;

/** Reads a draft that was too large to be sent when its page closed, and has not been sent since. */
export function unsentDraft(lease: string): Draft | undefined {
  const unsent = readStored<{ lease: string; draft: Draft }>("draft");
  return unsent?.lease === lease ? unsent.draft : undefined;
}

/**
 * Saves a task's draft on the server shortly after each change, and when the page closes.
 * @param lease undefined if there is nothing to save
 * @param paused whether changes wait; a page that closes saves all the same
 * @returns a function that saves the draft now
 */
export function useSavedDraft(
  lease: string | undefined,
  draft: Draft | undefined,
  paused = false,
): () => void {
  const saved = useRef(new Map<string, Draft | undefined>());
  if (lease !== undefined && !saved.current.has(lease))
    saved.current.set(lease, unsentDraft(lease) ? undefined : draft);
  const save = (leaving = false) => {
    if (lease === undefined || saved.current.get(lease) === draft) return;
    saved.current.set(lease, draft);
    const isLarge = new Blob([JSON.stringify(draft)]).size > maxKeepaliveBytes;
    if (leaving && isLarge) store("draft", { lease, draft });
    call("PUT /api/leases/:lease/draft", {
      params: { lease },
      body: { draft },
      keepalive: leaving && !isLarge,
    })
      .then(() => unsentDraft(lease) && store("draft", undefined))
      .catch(() => {
        // Mark it as unsaved, to be sent again, unless a newer draft is being sent.
        if (saved.current.get(lease) === draft) saved.current.set(lease, undefined);
      });
  };
  const latest = useRef(save);
  latest.current = save;
  useEffect(() => {
    const timer = draft && !paused ? setTimeout(() => latest.current(), 600) : undefined;
    return () => clearTimeout(timer);
  }, [draft, paused]);
  useEffect(() => {
    const leave = () => latest.current(true);
    window.addEventListener("pagehide", leave);
    return () => {
      window.removeEventListener("pagehide", leave);
      leave();
    };
  }, []);
  return save;
}
