import { useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import type { Settings } from "../ui/api.ts";
import { GuideDialog, HelpDialog, SkipDialog } from "../ui/dialogs.tsx";
import { useKeys } from "../ui/keys.ts";
import { Page, Problem } from "../ui/page.tsx";
import { Prompt } from "../ui/text.tsx";
import { AnswerForm } from "./answer-form.tsx";
import { useAnswerKeys } from "./answer-keys.ts";
import { Comment } from "./comment.tsx";
import { useDesk } from "./desk.ts";
import { Pair } from "./pair.tsx";
import { useProject } from "./project.ts";

export function LabelPage({ id }: { id: string }) {
  const project = useProject(id);
  if (!project.data) return <Page title="Label" error={project.error} />;
  return (
    <Page title={project.data.name} wide>
      <Desk id={id} settings={project.data.settings} mine={project.data.mine} />
    </Page>
  );
}

function Desk({ id, settings, mine }: { id: string; settings: Settings; mine: number }) {
  const desk = useDesk(id, settings, mine);
  const { isDone, current, name, done, said, error, sending } = desk;
  const { change, submit, undo, leave, again } = desk;
  const [plain, setPlain] = useState(false);
  const [compared, setCompared] = useState(false);
  /** Which two are compared, of the work that they were chosen in. */
  const [chosen, setChosen] = useState<{ of: string; two: [number, number] }>();
  const pair: [number, number] = chosen?.of === name ? chosen.two : [0, 1];
  const prompt = useRef<HTMLElement>(null);
  const skipping = useRef<HTMLDialogElement>(null);
  const help = useRef<HTMLDialogElement>(null);
  const guide = useRef<HTMLDialogElement>(null);
  const before = useRef(name);
  useEffect(() => {
    // Whoever reads or tabs goes on from the top of what is new; the first stays below the page's heading.
    if (before.current && name) {
      window.scrollTo(0, 0);
      prompt.current?.focus({ preventScroll: true });
    }
    before.current = name;
  }, [name]);
  const count = current?.completions.length ?? 0;
  const compare = () => setCompared((on) => !on);
  const answerKeys = useAnswerKeys(settings.kind, count, desk.update, desk.say, compare);
  useKeys({
    Enter: submit,
    u: undo,
    p: () => setPlain((on) => !on),
    s: () => skipping.current?.showModal(),
    g: () => guide.current?.showModal(),
    "?": () => help.current?.showModal(),
    // With seven answers to rank, g is one of them.
    ...answerKeys,
  });

  if (isDone)
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
      {compared && count > 2 && (
        <Pair count={count} pair={pair} onChange={(two) => setChosen({ of: name, two })} />
      )}
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
          <button type="button" className="quiet" onClick={leave}>
            Leave it as it was
          </button>
        )}
        <button type="button" className="quiet" aria-pressed={plain} onClick={() => setPlain(!plain)}>
          <kbd>p</kbd> Plain text
        </button>
        {count > 1 && (
          <button type="button" className="quiet" aria-pressed={compared} onClick={compare}>
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
      <SkipDialog dialog={skipping} onSkip={desk.send} />
      <GuideDialog dialog={guide} id={id} />
      <HelpDialog dialog={help} kind={settings.kind} />
    </>
  );
}
