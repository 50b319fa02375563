import { useQueryClient } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { type Answer, type ApiError, type Assignment, call, type Settings } from "../ui/api.ts";
import { useActiveSeconds } from "../ui/keys.ts";
import { type Draft, toAnswer, toDraft } from "./draft.ts";
import { unsentDraft, useSavedDraft } from "./use-saved-draft.ts";

/** What the labeler works on: a task, or an earlier judgement that is being revised. */
type QueueItem = Pick<Assignment, "messages" | "completions"> & { draft: Draft } & (
    | { kind: "task"; lease: string; task: string }
    | { kind: "revision"; judgement: string }
  );

/** Requests the next task. @param exclude tasks to pass over */
const fetchNext = async (project: string, exclude: string[]) =>
  (await call("POST /api/projects/:project/next", { params: { project }, body: { exclude } })).assignment;

/** Fetches the next task while the current one is being judged, so that labelers do not wait. */
function usePrefetch(project: string) {
  const prefetched = useRef<{ since: number; task: Promise<Assignment | null> }>(undefined);
  const prefetch = useCallback(
    (currentTask: string) => {
      const task = fetchNext(project, [currentTask]).catch(() => null);
      prefetched.current = { since: performance.now(), task };
    },
    [project],
  );
  /** Returns the prefetched task; null if there is none, or more than half of its lease has passed. */
  const takePrefetched = async (): Promise<Assignment | null> => {
    const { since, task } = prefetched.current ?? { since: 0 };
    const assignment = (await task) ?? null;
    const isStale = assignment && performance.now() - since > assignment.secondsLeft * 500;
    return isStale ? null : assignment;
  };
  return { prefetch, takePrefetched };
}

const sendAnswer = (item: QueueItem, body: { answer: Answer; seconds: number }): Promise<unknown> =>
  item.kind === "revision"
    ? call("POST /api/judgements/:judgement/revision", { params: { judgement: item.judgement }, body })
    : call("POST /api/leases/:lease/judgement", { params: { lease: item.lease }, body });

/** Fetches the labeler's last judgement, to be revised; undefined if there is none. */
async function fetchLastJudgement(project: string, settings: Settings): Promise<QueueItem | undefined> {
  const { last } = await call("GET /api/projects/:project/last", { params: { project } });
  if (!last) return undefined;
  const { id: judgement, messages, completions, answer } = last;
  return {
    kind: "revision",
    judgement,
    messages,
    completions,
    draft: toDraft(answer, settings, completions),
  };
}

/** Returns an item whose draft has what the project's settings ask for. */
const withSettings = (item: QueueItem | undefined, settings: Settings): QueueItem | undefined =>
  item && { ...item, draft: toDraft(item.draft, settings, item.completions) };

/** The current item, and functions that replace it. It is undefined while loading, and "none" if no task is left. */
function useCurrentItem(project: string, settings: Settings) {
  const [item, setItem] = useState<QueueItem | "none">();
  const [error, setError] = useState<Error | null>(null);
  const suspended = useRef<QueueItem>(undefined);
  const { prefetch, takePrefetched } = usePrefetch(project);

  const show = useCallback(
    (assignment: Assignment | null) => {
      if (!assignment) return setItem("none");
      const { lease, task, messages, completions } = assignment;
      const saved = (unsentDraft(lease) ?? assignment.draft ?? {}) as Partial<Draft>;
      const draft = toDraft(saved, settings, completions);
      setItem({ kind: "task", lease, task, messages, completions, draft });
      prefetch(task);
    },
    [settings, prefetch],
  );
  /** Requests a task. If that fails, no item is shown, because the previous one is finished. */
  const showNextFromServer = useCallback(async () => {
    try {
      show(await fetchNext(project, []));
    } catch (error) {
      setItem(undefined);
      setError(error as Error);
    }
  }, [project, show]);
  const loadedProject = useRef<string>(undefined);
  useEffect(() => {
    if (loadedProject.current !== project) {
      loadedProject.current = project;
      showNextFromServer();
      return;
    }
    // The settings have changed: the item stays with its draft, which may not be saved yet, and asks for what is new.
    suspended.current = withSettings(suspended.current, settings);
    setItem((before) => (before === "none" ? before : withSettings(before, settings)));
  }, [project, settings, showNextFromServer]);
  const showNext = async () => {
    const assignment = await takePrefetched();
    if (assignment) show(assignment);
    else await showNextFromServer();
  };
  /** Shows an earlier judgement. The current item is suspended until `closeRevision`. */
  const openRevision = (revision: QueueItem) => {
    suspended.current = item === "none" ? undefined : item;
    setItem(revision);
  };
  const closeRevision = () => setItem(suspended.current ?? "none");
  const retry = () => {
    setError(null);
    showNextFromServer();
  };
  return { item, setItem, error, setError, showNextFromServer, showNext, openRevision, closeRevision, retry };
}

/** Counts the labeler's judgements. With each, the project's count of tasks that are done is fetched again. */
function useJudgementCount(project: string, initial: number) {
  const [count, setCount] = useState(initial);
  const client = useQueryClient();
  const increment = () => {
    setCount((before) => before + 1);
    client.invalidateQueries({ queryKey: ["project", project] });
  };
  return { count, increment };
}

/**
 * Manages a labeler's queue: the current item and its draft, submitting it, and revising the last judgement.
 * @param judgementCount number of judgements that the labeler had made when the page opened
 */
export function useLabelingQueue(project: string, settings: Settings, judgementCount: number) {
  const { count, increment } = useJudgementCount(project, judgementCount);
  const [message, setMessage] = useState("");
  const [sending, setSending] = useState(false);
  const client = useQueryClient();
  const queue = useCurrentItem(project, settings);
  const { item, setItem, error, setError } = queue;
  const current = item === "none" ? undefined : item;
  const lease = current?.kind === "task" ? current.lease : undefined;
  const itemId = current?.kind === "revision" ? current.judgement : (lease ?? "");
  const seconds = useActiveSeconds(itemId);
  // While a judgement is being sent its lease ends, and a draft saved then would be refused.
  const saveDraft = useSavedDraft(lease, current?.draft, sending);
  const setDraft = (draft: Draft) => {
    setMessage("");
    setItem((before) => (before && before !== "none" ? { ...before, draft } : before));
  };
  const updateDraft = (change: (draft: Draft) => Partial<Draft>) =>
    current && setDraft({ ...current.draft, ...change(current.draft) });

  const send = async (answer: Answer) => {
    if (!current || sending) return;
    setSending(true);
    setError(null);
    try {
      await sendAnswer(current, { answer, seconds: seconds() });
      if (current.kind === "revision") {
        setMessage("Changed.");
        return queue.closeRevision();
      }
      setMessage("Saved.");
      await queue.showNext();
      increment();
    } catch (error) {
      setError(error as Error);
      const { status } = error as ApiError;
      // The project may ask for something that it did not when this page was loaded, such as a new criterion.
      if (status === 400) await client.invalidateQueries({ queryKey: ["project", project] });
      // The lease is lost to somebody else, so there is nothing to retry.
      if (status === 409 || status === 404) await queue.showNextFromServer();
    } finally {
      setSending(false);
    }
  };
  const submit = () => {
    const result = current && toAnswer(current.draft, settings);
    if (result) "missing" in result ? setMessage(result.missing) : send(result.answer);
  };
  const openLastAnswer = async () => {
    if (current?.kind === "revision") return;
    try {
      const last = await fetchLastJudgement(project, settings);
      if (!last) return setMessage("You have not answered anything yet.");
      saveDraft();
      queue.openRevision(last);
      setMessage("Your last answer: change it and submit.");
    } catch (error) {
      setError(error as Error);
    }
  };

  return {
    /** No task is left for the labeler. */
    isEmpty: item === "none",
    current,
    itemId,
    count,
    message,
    error,
    sending,
    setMessage,
    setDraft,
    updateDraft,
    send,
    submit,
    openLastAnswer,
    closeRevision: queue.closeRevision,
    retry: queue.retry,
  };
}
