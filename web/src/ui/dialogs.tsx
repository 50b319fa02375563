import { type FormEvent, useState } from "react";
import { useGuidelines } from "../labels/queries.ts";
import type { Answer, Settings } from "./api.ts";
import { Text } from "./text.tsx";

type Dialog = React.RefObject<HTMLDialogElement | null>;

const reasons = [
  "I do not know the field",
  "Unclear prompt",
  "Harmful or private",
  "Not in a language I read",
];

export function SkipDialog({ dialog, onSkip }: { dialog: Dialog; onSkip: (answer: Answer) => void }) {
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

export function GuideDialog({ dialog, id }: { dialog: Dialog; id: string }) {
  const guidelines = useGuidelines(id);
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

export function HelpDialog({ dialog, kind }: { dialog: Dialog; kind: Settings["kind"] }) {
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
