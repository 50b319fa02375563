import { type RefObject, useEffect, useRef, useState } from "react";
import { Link } from "wouter";
import type { Project, Settings } from "../ui/api.ts";
import { GuidelinesDialog, ShortcutsDialog, SkipDialog } from "../ui/dialogs.tsx";
import { useKeyboardShortcuts } from "../ui/keys.ts";
import { ErrorMessage, Page } from "../ui/page.tsx";
import { Prompt } from "../ui/text.tsx";
import { AnswerForm, Preference, preferenceLabels } from "./answer-form.tsx";
import { CommentInput } from "./comment-input.tsx";
import type { Draft } from "./draft.ts";
import { formatProgress } from "./format-progress.ts";
import { PairSelect } from "./pair-select.tsx";
import { useProject } from "./queries.ts";
import { useAnswerKeys } from "./use-answer-keys.ts";
import { useLabelingQueue } from "./use-labeling-queue.ts";

export function LabelPage({ id }: { id: string }) {
  const project = useProject(id);
  if (!project.data) return <Page title="Label" error={project.error} />;
  return (
    <Page title={project.data.name} wide>
      <LabelingForm id={id} project={project.data} />
    </Page>
  );
}

function LabelingForm({ id, project }: { id: string; project: Project }) {
  const { settings } = project;
  const queue = useLabelingQueue(id, settings, project.mine);
  const { isEmpty, current, itemId, error, setDraft, submit, openLastAnswer } = queue;
  const [plain, setPlain] = useState(false);
  const { showDifferences, toggleDifferences, pair, setPair } = useComparison(itemId);
  const prompt = useRef<HTMLElement>(null);
  const dialogs = useDialogs();
  useFocusOnNewItem(prompt, itemId);
  const count = current?.completions.length ?? 0;
  const togglePlain = () => setPlain((isOn) => !isOn);
  const { updateDraft, setMessage } = queue;
  const answerKeys = useAnswerKeys(settings.kind, count, updateDraft, setMessage, toggleDifferences);
  useKeyboardShortcuts({
    Enter: submit,
    u: openLastAnswer,
    p: togglePlain,
    s: dialogs.openSkip,
    g: dialogs.openGuidelines,
    "?": dialogs.openShortcuts,
    // Last, because with seven answers to rank, g is the key of an answer.
    ...answerKeys,
  });

  if (isEmpty) return <NoTaskLeft queue={queue} project={project} />;
  if (!current)
    return error ? (
      <TaskError id={id} error={error} onRetry={queue.retry} />
    ) : (
      <p role="status">Fetching a task …</p>
    );
  return (
    <>
      <p className="facts">
        {current.kind === "revision"
          ? "Changing your last answer"
          : formatProgress({ ...project, mine: queue.count })}{" "}
        · <Link href={`/projects/${id}`}>Guidelines</Link>
      </p>
      <Prompt key={`prompt ${itemId}`} ref={prompt} messages={current.messages} plain={plain} />
      {showDifferences && count > 2 && <PairSelect count={count} pair={pair} onChange={setPair} />}
      <AnswerForm
        key={itemId}
        settings={settings}
        plain={plain}
        compared={showDifferences && count > 1 ? pair : undefined}
        draft={current.draft}
        completions={current.completions}
        onChange={setDraft}
        hasScale={false}
      />
      <CommentInput
        key={`comment ${itemId}`}
        comment={current.draft.comment}
        onChange={(comment) => setDraft({ ...current.draft, comment })}
      />
      <div className="bar">
        <DecideBar queue={queue} settings={settings} />
        <ActionButtons
          queue={queue}
          settings={settings}
          plain={plain}
          compared={showDifferences}
          onPlain={togglePlain}
          onCompare={toggleDifferences}
          onSkip={dialogs.openSkip}
          onGuide={dialogs.openGuidelines}
          onHelp={dialogs.openShortcuts}
        />
      </div>
      <SkipDialog dialog={dialogs.skip} onSkip={queue.send} />
      <GuidelinesDialog dialog={dialogs.guidelines} id={id} />
      <ShortcutsDialog dialog={dialogs.shortcuts} kind={settings.kind} />
    </>
  );
}

/** The scale of a pairwise project and the submit button, always in sight. */
function DecideBar({ queue, settings }: { queue: LabelingQueue; settings: Settings }) {
  const { current, message, error, sending, submit, updateDraft } = queue;
  if (!current) return null;
  return (
    <div className="decide">
      <p role="status" aria-live="polite" className="message">
        {message}
      </p>
      <ErrorMessage error={error} />
      {settings.kind === "pairwise" && (
        <Preference draft={current.draft} onChange={(part) => updateDraft(() => part)} />
      )}
      <p className="actions">
        <button type="button" onClick={submit} disabled={sending}>
          <kbd>{settings.kind === "demonstration" ? "Ctrl Enter" : "Enter"}</kbd> Submit
        </button>
        {settings.kind === "pairwise" && <output>{describePreference(current.draft)}</output>}
      </p>
    </div>
  );
}

/** Describes what is chosen on the scale. */
const describePreference = ({ preference, bothBad }: Draft): string =>
  bothBad ? "Both are bad" : preference === null ? "" : (preferenceLabels[preference - 1] ?? "");

/** The page's dialogs, and functions that open them. */
function useDialogs() {
  const skip = useRef<HTMLDialogElement>(null);
  const guidelines = useRef<HTMLDialogElement>(null);
  const shortcuts = useRef<HTMLDialogElement>(null);
  return {
    skip,
    guidelines,
    shortcuts,
    openSkip: () => skip.current?.showModal(),
    openGuidelines: () => guidelines.current?.showModal(),
    openShortcuts: () => shortcuts.current?.showModal(),
  };
}

/** Which two completions are compared, and whether their differences are shown. The pair is reset with each item. */
function useComparison(itemId: string) {
  const [showDifferences, setShowDifferences] = useState(false);
  const [selection, setSelection] = useState<{ itemId: string; pair: [number, number] }>();
  const pair: [number, number] = selection?.itemId === itemId ? selection.pair : [0, 1];
  return {
    showDifferences,
    toggleDifferences: () => setShowDifferences((isOn) => !isOn),
    pair,
    setPair: (pair: [number, number]) => setSelection({ itemId, pair }),
  };
}

/**
 * Moves the focus to the prompt of each new item, so that screen readers and Tab continue there. Not for the first item: the
 * page's heading has the focus then.
 */
function useFocusOnNewItem(prompt: RefObject<HTMLElement | null>, itemId: string): void {
  const previous = useRef(itemId);
  useEffect(() => {
    if (previous.current && itemId) {
      window.scrollTo(0, 0);
      prompt.current?.focus({ preventScroll: true });
    }
    previous.current = itemId;
  }, [itemId, prompt]);
}

type LabelingQueue = ReturnType<typeof useLabelingQueue>;

const NoTaskLeft = ({
  queue: { count, retry, openLastAnswer, error },
  project,
}: {
  queue: LabelingQueue;
  project: Project;
}) => (
  <>
    <p role="status">
      There is nothing left for you here at the moment: {formatProgress({ ...project, mine: count })}. Thank
      you.
    </p>
    <p>
      <button type="button" onClick={retry}>
        Check again
      </button>{" "}
      <button type="button" className="quiet" onClick={openLastAnswer}>
        <kbd>u</kbd> Last answer
      </button>
    </p>
    <ErrorMessage error={error} />
  </>
);

const TaskError = ({ id, error, onRetry }: { id: string; error: Error; onRetry: () => void }) => (
  <>
    <ErrorMessage error={error} />
    <p>
      <button type="button" onClick={onRetry}>
        Try again
      </button>{" "}
      <Link href={`/projects/${id}`}>To the guidelines</Link>
    </p>
  </>
);

/** Buttons for everything but submitting. */
function ActionButtons({
  queue: { current, openLastAnswer, closeRevision },
  settings,
  plain,
  compared,
  onPlain,
  onCompare,
  onSkip,
  onGuide,
  onHelp,
}: {
  queue: LabelingQueue;
  settings: Settings;
  plain: boolean;
  compared: boolean;
} & Record<"onPlain" | "onCompare" | "onSkip" | "onGuide" | "onHelp", () => void>) {
  const count = current?.completions.length ?? 0;
  return (
    <div className="actions">
      {current?.kind === "task" ? (
        <>
          <button type="button" className="quiet" onClick={onSkip}>
            <kbd>s</kbd> Skip
          </button>
          <button type="button" className="quiet" onClick={openLastAnswer}>
            <kbd>u</kbd> Last answer
          </button>
        </>
      ) : (
        <button type="button" className="quiet" onClick={closeRevision}>
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
        {/* With seven answers to rank, g is the key of an answer. */}
        {!(settings.kind === "ranking" && count > 6) && <kbd>g</kbd>} Guidelines
      </button>
      <button type="button" className="quiet keyboard" onClick={onHelp}>
        <kbd>?</kbd> Keys
      </button>
    </div>
  );
}
