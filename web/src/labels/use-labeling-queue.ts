import { useCallback, useEffect, useRef, useState } from "react";
import { type Answer, ApiError, type Assignment, call, type Settings } from "../ui/api.ts";
import { useSeconds } from "../ui/keys.ts";
import { answerOf, type Draft, draftOf } from "./draft.ts";
import { unsentDraft, useSavedDraft } from "./use-saved-draft.ts";

/** What is on the desk: a task, or an earlier judgement that is opened again. */
type Work = Pick<Assignment, "messages" | "completions"> & { draft: Draft } & (
    | { kind: "task"; lease: string; task: string }
    | { kind: "revision"; judgement: string }
  );

const fetchNext = async (project: string, besides: string[]) =>
  (await call("POST /api/projects/:project/next", { params: { project }, body: { besides } })).assignment;

/** A task that is fetched while the one before is judged. */
function useAhead(project: string) {
  const ahead = useRef<{ since: number; task: Promise<Assignment | null> }>(undefined);
  const fetchAhead = useCallback(
    (current: string) => {
      ahead.current = { since: performance.now(), task: fetchNext(project, [current]).catch(() => null) };
    },
    [project],
  );
  /** What was fetched ahead, unless that failed, found nothing yet, or may go to somebody else soon. */
  const takeAhead = async (): Promise<Assignment | null> => {
    const { since, task } = ahead.current ?? { since: 0 };
    const found = (await task) ?? null;
    const isOld = found && performance.now() - since > found.secondsLeft * 500;
    return isOld ? null : found;
  };
  return { fetchAhead, takeAhead };
}

const sendAnswer = (work: Work, body: { answer: Answer; seconds: number }): Promise<unknown> =>
  work.kind === "revision"
    ? call("POST /api/judgements/:judgement/revision", { params: { judgement: work.judgement }, body })
    : call("POST /api/leases/:lease/judgement", { params: { lease: work.lease }, body });

/** The labeler's last judgement, to be changed. */
async function lastJudgement(project: string, settings: Settings): Promise<Work | undefined> {
  const { last } = await call("GET /api/projects/:project/last", { params: { project } });
  if (!last) return undefined;
  const { id: judgement, messages, completions, answer } = last;
  return {
    kind: "revision",
    judgement,
    messages,
    completions,
    draft: draftOf(answer, settings, completions),
  };
}

/** What is on the desk, and how the next task comes there. */
function useTasks(id: string, settings: Settings) {
  const [work, setWork] = useState<Work | "none">();
  const [error, setError] = useState<Error | null>(null);
  const waiting = useRef<Work>(undefined);
  const { fetchAhead, takeAhead } = useAhead(id);

  const show = useCallback(
    (next: Assignment | null) => {
      if (!next) return setWork("none");
      const { lease, task, messages, completions } = next;
      const saved = (unsentDraft(lease) ?? next.draft ?? {}) as Partial<Draft>;
      const draft = draftOf(saved, settings, completions);
      setWork({ kind: "task", lease, task, messages, completions, draft });
      fetchAhead(task);
    },
    [settings, fetchAhead],
  );
  /** Asks for a task. Where there is none to be had, the one that was there is done with, and stays away. */
  const begin = useCallback(async () => {
    try {
      show(await fetchNext(id, []));
    } catch (problem) {
      setWork(undefined);
      setError(problem as Error);
    }
  }, [id, show]);
  useEffect(() => {
    begin();
  }, [begin]);
  const next = async () => {
    const found = await takeAhead();
    if (found) show(found);
    else await begin();
  };
  /** Puts an earlier judgement on the desk; what was there waits until `leave`. */
  const open = (revision: Work) => {
    waiting.current = work === "none" ? undefined : work;
    setWork(revision);
  };
  const leave = () => setWork(waiting.current ?? "none");
  return { work, setWork, error, setError, begin, next, open, leave };
}

/** A labeler's work, from task to task. @param mine how many judgements they had made when the page opened */
export function useDesk(id: string, settings: Settings, mine: number) {
  const [done, setDone] = useState(mine);
  const [said, setSaid] = useState("");
  const [sending, setSending] = useState(false);
  const { work, setWork, error, setError, begin, next, open, leave } = useTasks(id, settings);
  const current = work === "none" ? undefined : work;
  const again = () => {
    setError(null);
    begin();
  };

  const name = current?.kind === "task" ? current.lease : (current?.judgement ?? "");
  const seconds = useSeconds(name);
  const saveDraft = useSavedDraft(current?.kind === "task" ? current.lease : undefined, current?.draft);
  const change = (draft: Draft) => {
    setSaid("");
    setWork((before) => (before && before !== "none" ? { ...before, draft } : before));
  };
  const update = (part: (draft: Draft) => Partial<Draft>) =>
    current && change({ ...current.draft, ...part(current.draft) });

  const send = async (answer: Answer) => {
    if (!current || sending) return;
    setSending(true);
    setError(null);
    try {
      await sendAnswer(current, { answer, seconds: seconds() });
      if (current.kind === "revision") {
        setSaid("Changed.");
        return leave();
      }
      setDone((count) => count + 1);
      setSaid("Saved.");
      await next();
    } catch (problem) {
      setError(problem as Error);
      // The task went to somebody else: there is nothing to try again.
      if (problem instanceof ApiError && (problem.status === 409 || problem.status === 404)) await begin();
    } finally {
      setSending(false);
    }
  };
  const submit = () => {
    if (!current) return;
    const found = answerOf(current.draft, settings);
    if ("missing" in found) setSaid(found.missing);
    else send(found.answer);
  };
  const undo = async () => {
    if (current?.kind === "revision") return;
    try {
      const last = await lastJudgement(id, settings);
      if (!last) return setSaid("There is nothing to undo.");
      saveDraft();
      open(last);
      setSaid("Your last answer: change it and submit.");
    } catch (problem) {
      setError(problem as Error);
    }
  };

  return {
    /** Nothing is left for them. */
    isDone: work === "none",
    current,
    name,
    done,
    said,
    error,
    sending,
    say: setSaid,
    change,
    update,
    send,
    submit,
    undo,
    leave,
    again,
  };
}
