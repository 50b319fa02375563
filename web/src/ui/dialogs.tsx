import { type FormEvent, useEffect, useRef, useState } from "react";
import { useGuidelines } from "../labels/queries.ts";
import type { Answer, Settings } from "./api.ts";
import { Text } from "./text.tsx";

type Dialog = React.RefObject<HTMLDialogElement | null>;

const skipReasons = [
  "I do not know the field",
  "Unclear prompt",
  "Harmful or private",
  "Not in a language I read",
];

export function SkipDialog({ dialog, onSkip }: { dialog: Dialog; onSkip: (answer: Answer) => void }) {
  const [reason, setReason] = useState(skipReasons[0] as string);
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
          {skipReasons.map((option) => (
            <label key={option}>
              <input
                type="radio"
                name="reason"
                checked={option === reason}
                onChange={() => setReason(option)}
              />
              {option}
            </label>
          ))}
        </fieldset>
        <label>
          Details (optional)
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

/** Asks for a confirmation. It is open while it is rendered. @param action text of the button that confirms */
export function ConfirmDialog({
  title,
  text,
  action,
  onConfirm,
  onClose,
}: {
  title: string;
  text: string;
  action: string;
  onConfirm: () => void;
  onClose: () => void;
}) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (!dialog.current?.open) dialog.current?.showModal();
  }, []);
  const confirm = () => {
    onConfirm();
    dialog.current?.close();
  };
  return (
    <dialog ref={dialog} aria-labelledby="confirm-title" onClose={onClose}>
      <h2 id="confirm-title" dir="auto">
        {title}
      </h2>
      <p>{text}</p>
      <p className="actions">
        <button type="button" onClick={confirm}>
          {action}
        </button>
        <button type="button" className="quiet" onClick={() => dialog.current?.close()}>
          Back
        </button>
      </p>
    </dialog>
  );
}

export function GuidelinesDialog({ dialog, id }: { dialog: Dialog; id: string }) {
  const guidelines = useGuidelines(id);
  return (
    <dialog ref={dialog} aria-labelledby="guide-title">
      <h2 id="guide-title">Guidelines</h2>
      <Text text={guidelines.data?.text || "There are none."} isDocument />
      <button type="button" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  );
}

const commonShortcuts: [string, string][] = [
  ["Enter", "submit; in a text box, with Ctrl or ⌘"],
  ["s", "skip"],
  ["u", "change your last answer"],
  ["p", "switch between plain text and Markdown"],
  ["g", "guidelines"],
  ["?", "show these keys"],
];
const kindShortcuts: Record<Settings["kind"], [string, string][]> = {
  ranking: [
    ["a, b, c …", "rank this answer next, the best one first"],
    ["=", "tie: the next answer gets the same rank as the last"],
    ["Backspace", "remove the last rank"],
    ["/", "show how two answers differ"],
  ],
  pairwise: [
    ["1 … 8", "from “A is much better” to “B is much better”"],
    ["0, x", "both are bad"],
    ["d", "show how the answers differ"],
  ],
  rating: [
    ["0 … 9", "set the focused rating"],
    ["d", "show how two answers differ"],
  ],
  demonstration: [],
};

export function ShortcutsDialog({ dialog, kind }: { dialog: Dialog; kind: Settings["kind"] }) {
  return (
    <dialog ref={dialog} aria-labelledby="help-title">
      <h2 id="help-title">Keys</h2>
      <p>Keys do nothing while you type in a text box.</p>
      <dl className="keys">
        {[...kindShortcuts[kind], ...commonShortcuts].map(([key, action]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{action}</dd>
          </div>
        ))}
      </dl>
      <button type="button" onClick={() => dialog.current?.close()}>
        Close
      </button>
    </dialog>
  );
}
