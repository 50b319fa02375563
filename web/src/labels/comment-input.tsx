import { useState } from "react";

/** A collapsible text box for a comment on the answer. */
export function CommentInput({
  comment,
  onChange,
}: {
  comment: string;
  onChange: (comment: string) => void;
}) {
  // Computed once: the box must not close while somebody deletes their text.
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
