import { useEffect, useRef } from "react";
import { call } from "../ui/api.ts";
import { keep, kept } from "../ui/persistent-state.ts";
import type { Draft } from "./draft.ts";

/** Bytes that browsers send at most when the page that asked for it is gone; 64 KB less what is around a draft. */
const most = 60_000;

/** What was too large to be sent as its page went, and has not been sent since. */
export function unsentDraft(lease: string): Draft | undefined {
  const unsent = kept<{ lease: string; draft: Draft }>("draft");
  return unsent?.lease === lease ? unsent.draft : undefined;
}

/**
 * Saves a task's draft a moment after it changed, and when the page goes.
 * @param lease none when nothing is to be saved
 * @returns saves it now, for when something else is opened
 */
export function useSavedDraft(lease: string | undefined, draft: Draft | undefined): () => void {
  const saved = useRef(new Map<string, Draft | undefined>());
  if (lease !== undefined && !saved.current.has(lease))
    saved.current.set(lease, unsentDraft(lease) ? undefined : draft);
  const save = (leaving = false) => {
    if (lease === undefined || saved.current.get(lease) === draft) return;
    saved.current.set(lease, draft);
    const isLarge = new Blob([JSON.stringify(draft)]).size > most;
    if (leaving && isLarge) keep("draft", { lease, draft });
    call("PUT /api/leases/:lease/draft", {
      params: { lease },
      body: { draft },
      keepalive: leaving && !isLarge,
    })
      .then(() => unsentDraft(lease) && keep("draft", undefined))
      .catch(() => {
        // To be tried again, unless a newer one is on its way.
        if (saved.current.get(lease) === draft) saved.current.set(lease, undefined);
      });
  };
  const latest = useRef(save);
  latest.current = save;
  useEffect(() => {
    const timer = draft && setTimeout(() => latest.current(), 600);
    return () => clearTimeout(timer);
  }, [draft]);
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
