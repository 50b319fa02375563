import { useState } from "react";

/** A box for what an answer does not say. */
export function Comment({ comment, onChange }: { comment: string; onChange: (comment: string) => void }) {
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
