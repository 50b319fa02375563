import { useQuery } from "@tanstack/react-query";
import { type FormEvent, useCallback, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import { AnswerForm } from "./answer-form.tsx";
import { type Answer, ApiError, type Assignment, call, type Settings } from "./api.ts";
import { answerOf, type Draft, draftOf, letters, place, unplace } from "./draft.ts";
import { useKeys, useSeconds } from "./keys.ts";
import { Page, Problem } from "./page.tsx";
import { unsentDraft, useSavedDraft } from "./saved-draft.ts";
import { Prompt, Text } from "./text.tsx";

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
  const [pair, setPair] = useState<[number, number]>([0, 1]);
  const ahead = useRef<{ since: number; task: Promise<Assignment | null> }>(undefined);
  const prompt = useRef<HTMLElement>(null);
  const waiting = useRef<Work>(undefined);
  const tie = useRef(false);
  const skipping = useRef<HTMLDialogElement>(null);
  const help = useRef<HTMLDialogElement>(null);
  const guide = useRef<HTMLDialogElement>(null);

  const show = useCallback(
    (next: Assignment | null) => {
      if (!next) return setWork("none");
      const { lease, task, messages, completions } = next;
      const saved = (unsentDraft(lease) ?? next.draft ?? {}) as Partial<Draft>;
      const draft = draftOf(saved, settings, completions);
      setWork({ kind: "task", lease, task, messages, completions, draft });
      setPair([0, 1]);
      ahead.current = { since: performance.now(), task: fetchNext(id, [task]).catch(() => null) };
    },
    [id, settings],
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
  const again = () => {
    setError(null);
    begin();
  };

  const current = work === "none" ? undefined : work;
  const name = current?.kind === "task" ? current.lease : (current?.judgement ?? "");
  const seconds = useSeconds(name);
  const saveDraft = useSavedDraft(current?.kind === "task" ? current.lease : undefined, current?.draft);
  const before = useRef(name);
  useEffect(() => {
    // Whoever reads or tabs goes on from the top of what is new; the first stays below the page's heading.
    if (before.current && name) {
      window.scrollTo(0, 0);
      prompt.current?.focus({ preventScroll: true });
    }
    before.current = name;
  }, [name]);

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
      // What was fetched ahead, unless that failed, found nothing yet, or may go to somebody else soon.
      const { since, task } = ahead.current ?? { since: 0 };
      const found = await task;
      const isOld = found && performance.now() - since > found.secondsLeft * 500;
      const next = isOld ? null : found;
      if (next) show(next);
      else await begin();
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
      const { last } = await call("GET /api/projects/:project/last", { params: { project: id } });
      if (!last) return setSaid("There is nothing to undo.");
      saveDraft();
      waiting.current = current;
      const { id: judgement, messages, completions, answer } = last;
      const draft = draftOf(answer, settings, completions);
      setWork({ kind: "revision", judgement, messages, completions, draft });
      setSaid("Your last answer: change it and submit.");
    } catch (problem) {
      setError(problem as Error);
    }
  };

  const bothBad = () => update(({ bothBad }) => ({ bothBad: !bothBad, preference: null }));
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
      0: bothBad,
      x: bothBad,
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
          <button type="button" onClick={again}>
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
          <button type="button" onClick={again}>
            Try again
          </button>{" "}
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
      <Prompt key={`prompt ${name}`} ref={prompt} messages={current.messages} plain={plain} />
      {compared && count > 2 && <Pair {...{ count, pair, onChange: setPair }} />}
      <AnswerForm
        key={name}
        {...{
          settings,
          plain,
          compared: compared && count > 1 ? pair : undefined,
          draft: current.draft,
          completions: current.completions,
          onChange: change,
        }}
      />
      <Comment
        key={`comment ${name}`}
        comment={current.draft.comment}
        onChange={(comment) => change({ ...current.draft, comment })}
      />
      <div className="actions">
        <p role="status" aria-live="polite" className="said">
          {said}
        </p>
        <Problem error={error} />
        <button type="button" onClick={submit} disabled={sending}>
          <kbd>{settings.kind === "demonstration" ? "Ctrl Enter" : "Enter"}</kbd> Submit
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
          {/* With seven answers to rank the key is an answer's. */}
          {!(settings.kind === "ranking" && count > 6) && <kbd>g</kbd>} Guidelines
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

/** Which two of more completions are compared. */
function Pair({
  count,
  pair,
  onChange,
}: {
  count: number;
  pair: [number, number];
  onChange: (pair: [number, number]) => void;
}) {
  const choice = (place: 0 | 1, label: string) => (
    <select
      aria-label={label}
      value={pair[place]}
      onChange={({ target }) => {
        const chosen = Number(target.value);
        onChange(place === 0 ? [chosen, pair[1]] : [pair[0], chosen]);
      }}
    >
      {Array.from({ length: count }, (_, i) => (
        <option key={i} value={i}>
          {letters[i]}
        </option>
      ))}
    </select>
  );
  return (
    <p className="pair">
      Marked is what differs between {choice(0, "One answer")} and {choice(1, "Another answer")}
    </p>
  );
}

function Comment({ comment, onChange }: { comment: string; onChange: (comment: string) => void }) {
  // Only at first: it does not close while somebody takes their words back.
  const [open] = useState(comment !== "");
  return (
    <details className="comment" open={open}>
      <summary>Comment</summary>
      <label>
        Anything worth saying
        <textarea rows={3} dir="auto" value={comment} onChange={({ target }) => onChange(target.value)} />
      </label>
    </details>
  );
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
  const skip = (event: FormEvent) => {
    event.preventDefault();
    dialog.current?.close();
    onSkip({ skip: reason, ...(comment.trim() && { comment }) });
    setComment("");
  };
  return (
    <dialog ref={dialog} aria-labelledby="skip-title">
      <form onSubmit={skip}>
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
          <button type="submit">Skip</button>
          <button type="button" className="quiet" onClick={() => dialog.current?.close()}>
            Back
          </button>
        </p>
      </form>
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
  ["Enter", "submit; while you write in a box, with Ctrl or ⌘"],
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
    ["/", "mark how two answers differ"],
  ],
  pairwise: [
    ["1 … 8", "from A is much better to B is much better"],
    ["0, x", "both are bad"],
    ["d", "mark how the answers differ"],
  ],
  rating: [
    ["0 … 9", "the rating that has the focus"],
    ["d", "mark how two answers differ"],
  ],
  demonstration: [],
};

function HelpDialog({ dialog, kind }: { dialog: Dialog; kind: Settings["kind"] }) {
  return (
    <dialog ref={dialog} aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <p>While you write in a box, letters are letters.</p>
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
