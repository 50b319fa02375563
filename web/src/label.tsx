import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { AnswerForm } from "./answer-form.tsx";
import { type Answer, ApiError, type Assignment, call, type Settings } from "./api.ts";
import { answerOf, type Draft, draftOf, emptyDraft, letters, place, unplace } from "./draft.ts";
import { useKeys, useSeconds } from "./keys.ts";
import { Page, Problem } from "./page.tsx";
import { Text } from "./text.tsx";

export function LabelPage({ id }: { id: string }) {
  const project = useQuery({
    queryKey: ["project", id],
    queryFn: () => call("GET /api/projects/:project", { params: { project: id } }),
  });
  if (!project.data) return <Page title="Label" error={project.error} />;
  return (
    <Page title={project.data.name} wide>
      <Desk id={id} settings={project.data.settings} mine={project.data.mine} />
    </Page>
  );
}

/** What is on the desk: a task, or an earlier judgement that is opened again. */
type Work = Pick<Assignment, "messages" | "completions"> & { draft: Draft } & (
    | { kind: "task"; lease: string; task: string }
    | { kind: "revision"; judgement: string }
  );

const fetchNext = async (project: string, besides: string[]) =>
  (await call("POST /api/projects/:project/next", { params: { project }, body: { besides } })).assignment;

function Desk({ id, settings, mine }: { id: string; settings: Settings; mine: number }) {
  const [work, setWork] = useState<Work | "none">();
  const [done, setDone] = useState(mine);
  const [said, setSaid] = useState("");
  const [error, setError] = useState<Error | null>(null);
  const [sending, setSending] = useState(false);
  const [plain, setPlain] = useState(false);
  const [compared, setCompared] = useState(false);
  const ahead = useRef<Promise<Assignment | null>>(undefined);
  const waiting = useRef<Work>(undefined);
  const tie = useRef(false);
  const skipping = useRef<HTMLDialogElement>(null);
  const help = useRef<HTMLDialogElement>(null);
  const guide = useRef<HTMLDialogElement>(null);

  const show = useCallback(
    (next: Assignment | null) => {
      if (!next) return setWork("none");
      const { lease, task, messages, completions, draft } = next;
      const empty = emptyDraft(settings, completions);
      setWork({
        kind: "task",
        lease,
        task,
        messages,
        completions,
        draft: { ...empty, ...(draft as object) },
      });
      ahead.current = fetchNext(id, [task]).catch(() => null);
      window.scrollTo(0, 0);
    },
    [id, settings],
  );
  const begin = useCallback(() => {
    setError(null);
    fetchNext(id, []).then(show, setError);
  }, [id, show]);
  useEffect(begin, [begin]);

  const current = work === "none" ? undefined : work;
  const name = current?.kind === "task" ? current.lease : (current?.judgement ?? "");
  const seconds = useSeconds(name);
  useSavedDraft(current);

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
    const body = { answer, seconds: seconds() };
    try {
      if (current.kind === "revision") {
        await call("POST /api/judgements/:judgement/revision", {
          params: { judgement: current.judgement },
          body,
        });
        setSaid("Changed.");
        setWork(waiting.current ?? "none");
        return;
      }
      await call("POST /api/leases/:lease/judgement", { params: { lease: current.lease }, body });
      setDone((count) => count + 1);
      setSaid("Saved.");
      // What was fetched ahead; asked for again where that failed or found nothing yet.
      show((await ahead.current) ?? (await fetchNext(id, [])));
    } catch (problem) {
      setError(problem as Error);
      // The task went to somebody else: there is nothing to try again.
      if (problem instanceof ApiError && (problem.status === 409 || problem.status === 404)) begin();
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
      const { last } = await call("GET /api/projects/:project/last", { params: { project: id } });
      if (!last) return setSaid("There is nothing to undo.");
      waiting.current = current;
      const { id: judgement, messages, completions, answer } = last;
      const draft = draftOf(answer, settings, completions);
      setWork({ kind: "revision", judgement, messages, completions, draft });
      setSaid("Your last answer: change it and submit.");
    } catch (problem) {
      setError(problem as Error);
    }
  };

  const count = current?.completions.length ?? 0;
  useKeys({
    Enter: submit,
    u: undo,
    p: () => setPlain((on) => !on),
    s: () => skipping.current?.showModal(),
    g: () => guide.current?.showModal(),
    "?": () => help.current?.showModal(),
    ...(count > 1 && settings.kind !== "pairwise" && settings.kind !== "ranking"
      ? { d: () => setCompared((on) => !on) }
      : {}),
    ...(settings.kind === "pairwise" && {
      ...Object.fromEntries(
        Array.from({ length: 8 }, (_, i) => [
          String(i + 1),
          () => update(() => ({ preference: i + 1, bothBad: false })),
        ]),
      ),
      0: () => update(({ bothBad }) => ({ bothBad: !bothBad, preference: null })),
      d: () => setCompared((on) => !on),
    }),
    ...(settings.kind === "ranking" && {
      ...Object.fromEntries(
        Array.from({ length: count }, (_, i) => [
          letters[i]?.toLowerCase() as string,
          () => {
            update(({ ranks }) => ({ ranks: place(ranks, i, tie.current) }));
            tie.current = false;
          },
        ]),
      ),
      "=": () => {
        tie.current = true;
        setSaid("The next one is level with the last.");
      },
      Backspace: () => update(({ ranks }) => ({ ranks: unplace(ranks) })),
      "/": () => setCompared((on) => !on),
    }),
  });

  if (work === "none")
    return (
      <>
        <p role="status">There is nothing left for you here just now. You have answered {done}: thank you.</p>
        <p>
          <button type="button" onClick={begin}>
            Look again
          </button>{" "}
          <button type="button" className="quiet" onClick={undo}>
            <kbd>u</kbd> Change the last one
          </button>
        </p>
        <Problem error={error} />
      </>
    );
  if (!current && !error) return <p role="status">Fetching a task …</p>;
  if (!current)
    return (
      <>
        <Problem error={error} />
        <p>
          <Link href={`/projects/${id}`}>To the guidelines</Link>
        </p>
      </>
    );
  return (
    <>
      <p className="facts">
        {current.kind === "revision" ? "Changing your last answer" : `${done} answered`} ·{" "}
        <Link href={`/projects/${id}`}>Guidelines</Link>
      </p>
      <section aria-label="Prompt" className="prompt">
        {current.messages.map(({ role, content }, i) => (
          <details key={`${name} ${i}`} className={`turn ${role}`} open={i >= current.messages.length - 3}>
            <summary>{{ user: "User", assistant: "Assistant", system: "System" }[role]}</summary>
            <Text text={content} plain={plain} />
          </details>
        ))}
      </section>
      <AnswerForm
        key={name}
        {...{
          settings,
          plain,
          compared,
          draft: current.draft,
          completions: current.completions,
          onChange: change,
        }}
      />
      <details className="comment" open={current.draft.comment !== ""}>
        <summary>Comment</summary>
        <label>
          Anything worth saying
          <textarea
            rows={3}
            dir="auto"
            value={current.draft.comment}
            onChange={({ target }) => change({ ...current.draft, comment: target.value })}
          />
        </label>
      </details>
      <div className="actions">
        <p role="status" aria-live="polite" className="said">
          {said}
        </p>
        <Problem error={error} />
        <button type="button" onClick={submit} disabled={sending}>
          <kbd>Enter</kbd> Submit
        </button>
        {current.kind === "task" ? (
          <>
            <button type="button" className="quiet" onClick={() => skipping.current?.showModal()}>
              <kbd>s</kbd> Skip
            </button>
            <button type="button" className="quiet" onClick={undo}>
              <kbd>u</kbd> Undo
            </button>
          </>
        ) : (
          <button type="button" className="quiet" onClick={() => setWork(waiting.current ?? "none")}>
            Leave it as it was
          </button>
        )}
        <button type="button" className="quiet" aria-pressed={plain} onClick={() => setPlain(!plain)}>
          <kbd>p</kbd> Plain text
        </button>
        {count > 1 && (
          <button
            type="button"
            className="quiet"
            aria-pressed={compared}
            onClick={() => setCompared(!compared)}
          >
            <kbd>{settings.kind === "ranking" ? "/" : "d"}</kbd> Differences
          </button>
        )}
        <button type="button" className="quiet" onClick={() => guide.current?.showModal()}>
          <kbd>g</kbd> Guidelines
        </button>
        <button type="button" className="quiet" onClick={() => help.current?.showModal()}>
          <kbd>?</kbd> Keys
        </button>
      </div>
      <SkipDialog dialog={skipping} onSkip={(answer) => send(answer)} />
      <GuideDialog dialog={guide} id={id} />
      <HelpDialog dialog={help} kind={settings.kind} />
    </>
  );
}

/** Saves a task's draft a moment after it changed, and when the page goes. */
function useSavedDraft(work: Work | undefined): void {
  const lease = work?.kind === "task" ? work.lease : undefined;
  const draft = work?.draft;
  const saved = useRef<{ lease: string | undefined; draft: Draft | undefined }>({ lease, draft });
  if (saved.current.lease !== lease) saved.current = { lease, draft };
  useEffect(() => {
    if (lease === undefined || draft === undefined || saved.current.draft === draft) return;
    const save = (keepalive: boolean) => {
      if (saved.current.lease !== lease) return;
      saved.current.draft = draft;
      // The answer is what counts: a draft that cannot be saved now is saved with the next change.
      call("PUT /api/leases/:lease/draft", { params: { lease }, body: { draft }, keepalive }).catch(() => {});
    };
    const timer = setTimeout(() => save(false), 600);
    const leave = () => save(true);
    window.addEventListener("pagehide", leave);
    return () => {
      clearTimeout(timer);
      window.removeEventListener("pagehide", leave);
    };
  }, [lease, draft]);
}

type Dialog = React.RefObject<HTMLDialogElement | null>;

const reasons = [
  "I do not know the field",
  "Unclear prompt",
  "Harmful or private",
  "Not in a language I read",
];

function SkipDialog({ dialog, onSkip }: { dialog: Dialog; onSkip: (answer: Answer) => void }) {
  const [reason, setReason] = useState(reasons[0] as string);
  const [comment, setComment] = useState("");
  const skip = () => {
    dialog.current?.close();
    onSkip({ skip: reason, ...(comment.trim() && { comment }) });
    setComment("");
  };
  return (
    <dialog ref={dialog} aria-labelledby="skip-title">
      <h2 id="skip-title">Skip this task</h2>
      <fieldset>
        <legend>Why?</legend>
        {reasons.map((one) => (
          <label key={one}>
            <input type="radio" name="reason" checked={one === reason} onChange={() => setReason(one)} />
            {one}
          </label>
        ))}
      </fieldset>
      <label>
        More about it, if you like
        <input value={comment} dir="auto" onChange={({ target }) => setComment(target.value)} />
      </label>
      <p className="actions">
        <button type="button" onClick={skip}>
          Skip
        </button>
        <button type="button" className="quiet" onClick={() => dialog.current?.close()}>
          Back
        </button>
      </p>
    </dialog>
  );
}

function GuideDialog({ dialog, id }: { dialog: Dialog; id: string }) {
  const guidelines = useQuery({
    queryKey: ["guidelines", id],
    queryFn: () => call("GET /api/projects/:project/guidelines", { params: { project: id } }),
  });
  return (
    <dialog ref={dialog} aria-labelledby="guide-title">
      <h2 id="guide-title">Guidelines</h2>
      <Text text={guidelines.data?.text || "There are none."} />
      <button type="button" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  );
}

const shared: [string, string][] = [
  ["Enter", "submit"],
  ["s", "skip"],
  ["u", "open the last answer again"],
  ["p", "texts as they stand, or as Markdown"],
  ["g", "guidelines"],
  ["?", "these keys"],
];
const own: Record<Settings["kind"], [string, string][]> = {
  ranking: [
    ["a, b, c …", "this answer comes next, the best first"],
    ["=", "the next one is level with the last"],
    ["Backspace", "take the last placed back"],
    ["/", "mark how the first two differ"],
  ],
  pairwise: [
    ["1 … 8", "from A is much better to B is much better"],
    ["0", "both are bad"],
    ["d", "mark how the answers differ"],
  ],
  rating: [["d", "mark how the first two differ"]],
  demonstration: [],
};

function HelpDialog({ dialog, kind }: { dialog: Dialog; kind: Settings["kind"] }) {
  return (
    <dialog ref={dialog} aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <p>They do nothing while you write in a box.</p>
      <dl className="keys">
        {[...own[kind], ...shared].map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  );
}
