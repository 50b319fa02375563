import { useMutation } from "@tanstack/react-query";
import { ErrorMessage } from "./page.tsx";

/** Shows a link that gives access like a password, with a button that copies it. */
export function LinkToSend({ link, expires }: { link: string; expires: number }) {
  return (
    <>
      <label>
        Send this link to one person. It works once, until {new Date(expires).toLocaleString()}.
        <input readOnly value={link} onFocus={({ target }) => target.select()} />
      </label>
      {/* Browsers have the clipboard API on https and localhost only. */}
      {navigator.clipboard && <Copy key={link} text={link} />}
    </>
  );
}

function Copy({ text }: { text: string }) {
  const copy = useMutation({ mutationFn: () => navigator.clipboard.writeText(text) });
  return (
    <>
      <ErrorMessage error={copy.error} />
      <button type="button" className="quiet" onClick={() => copy.mutate()}>
        Copy the link
      </button>
      <span role="status">{copy.isSuccess && "Copied."}</span>
    </>
  );
}
