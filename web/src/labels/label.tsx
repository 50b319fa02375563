import { type RefObject, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import type { Settings } from "../ui/api.ts";
import { GuideDialog, HelpDialog, SkipDialog } from "../ui/dialogs.tsx";
import { useKeys } from "../ui/keys.ts";
import { Page, Problem } from "../ui/page.tsx";
import { Prompt } from "../ui/text.tsx";
import { AnswerForm } from "./answer-form.tsx";
import { Comment } from "./comment-input.tsx";
import { Pair } from "./pair-select.tsx";
import { useProject } from "./queries.ts";
import { useAnswerKeys } from "./use-answer-keys.ts";
import { useDesk } from "./use-labeling-queue.ts";

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
  const { change, submit, undo, again } = desk;
  const [plain, setPlain] = useState(false);
  const { compared, compare, pair, setPair } = useComparison(name);
  const prompt = useRef<HTMLElement>(null);
  const skipping = useRef<HTMLDialogElement>(null);
  const help = useRef<HTMLDialogElement>(null);
  const guide = useRef<HTMLDialogElement>(null);
  useFocusOnNew(prompt, name);
  const count = current?.completions.length ?? 0;
  const togglePlain = () => setPlain((on) => !on);
  const answerKeys = useAnswerKeys(settings.kind, count, desk.update, desk.say, compare);
  useKeys({
    Enter: submit,
    u: undo,
    p: togglePlain,
    s: () => skipping.current?.showModal(),
    g: () => guide.current?.showModal(),
    "?": () => help.current?.showModal(),
    // With seven answers to rank, g is one of them.
    ...answerKeys,
  });

  if (isDone) return <NothingLeft desk={desk} />;
  if (!current)
    return error ? <NoTask id={id} error={error} onRetry={again} /> : <p role="status">Fetching a task …</p>;
  return (
    <>
      <p className="facts">
        {current.kind === "revision" ? "Changing your last answer" : `${done} answered`} ·{" "}
        <Link href={`/projects/${id}`}>Guidelines</Link>
      </p>
      <Prompt key={`prompt ${name}`} ref={prompt} messages={current.messages} plain={plain} />
      {compared && count > 2 && <Pair count={count} pair={pair} onChange={setPair} />}
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
        <Buttons
          desk={desk}
          settings={settings}
          {...{ plain, compared }}
          onPlain={togglePlain}
          onCompare={compare}
          onSkip={() => skipping.current?.showModal()}
          onGuide={() => guide.current?.showModal()}
          onHelp={() => help.current?.showModal()}
        />
      </div>
      <SkipDialog dialog={skipping} onSkip={desk.send} />
      <GuideDialog dialog={guide} id={id} />
      <HelpDialog dialog={help} kind={settings.kind} />
    </>
  );
}

/** Which two completions are marked where they differ. @param name of the task that they are chosen in */
function useComparison(name: string) {
  const [compared, setCompared] = useState(false);
  const [chosen, setChosen] = useState<{ of: string; two: [number, number] }>();
  const pair: [number, number] = chosen?.of === name ? chosen.two : [0, 1];
  return {
    compared,
    compare: () => setCompared((on) => !on),
    pair,
    setPair: (two: [number, number]) => setChosen({ of: name, two }),
  };
}

/** Puts the focus on what is new: whoever reads or tabs goes on from its top. The first stays below the page's heading. */
function useFocusOnNew(prompt: RefObject<HTMLElement | null>, name: string): void {
  const before = useRef(name);
  useEffect(() => {
    if (before.current && name) {
      window.scrollTo(0, 0);
      prompt.current?.focus({ preventScroll: true });
    }
    before.current = name;
  }, [name, prompt]);
}

type DeskState = ReturnType<typeof useDesk>;

const NothingLeft = ({ desk: { done, again, undo, error } }: { desk: DeskState }) => (
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

const NoTask = ({ id, error, onRetry }: { id: string; error: Error; onRetry: () => void }) => (
  <>
    <Problem error={error} />
    <p>
      <button type="button" onClick={onRetry}>
        Try again
      </button>{" "}
      <Link href={`/projects/${id}`}>To the guidelines</Link>
    </p>
  </>
);

/** What can be done besides submitting. */
function Buttons({
  desk: { current, undo, leave },
  settings,
  plain,
  compared,
  onPlain,
  onCompare,
  onSkip,
  onGuide,
  onHelp,
}: {
  desk: DeskState;
  settings: Settings;
  plain: boolean;
  compared: boolean;
} & Record<"onPlain" | "onCompare" | "onSkip" | "onGuide" | "onHelp", () => void>) {
  const count = current?.completions.length ?? 0;
  return (
    <>
      {current?.kind === "task" ? (
        <>
          <button type="button" className="quiet" onClick={onSkip}>
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
      <button type="button" className="quiet" aria-pressed={plain} onClick={onPlain}>
        <kbd>p</kbd> Plain text
      </button>
      {count > 1 && (
        <button type="button" className="quiet" aria-pressed={compared} onClick={onCompare}>
          <kbd>{settings.kind === "ranking" ? "/" : "d"}</kbd> Differences
        </button>
      )}
      <button type="button" className="quiet" onClick={onGuide}>
        {/* With seven answers to rank the key is an answer's. */}
        {!(settings.kind === "ranking" && count > 6) && <kbd>g</kbd>} Guidelines
      </button>
      <button type="button" className="quiet" onClick={onHelp}>
        <kbd>?</kbd> Keys
      </button>
    </>
  );
}
