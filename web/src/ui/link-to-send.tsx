import { useMutation } from "@tanstack/react-query";
import { Problem } from "./page.tsx";

/** A link that is as good as a password. */
export function LinkToSend({ link, expires }: { link: string; expires: number }) {
  return (
    <>
      <label>
        Send this link to one person. It works once, until {new Date(expires).toLocaleString()}.
        <input readOnly value={link} onFocus={({ target }) => target.select()} />
      </label>
      {/* Browsers have it on https and on this machine only. */}
      {navigator.clipboard && <Copy key={link} text={link} />}
    </>
  );
}

function Copy({ text }: { text: string }) {
  const copy = useMutation({ mutationFn: () => navigator.clipboard.writeText(text) });
  return (
    <>
      <Problem error={copy.error} />
      <button type="button" className="quiet" onClick={() => copy.mutate()}>
        Copy the link
      </button>
      <span role="status">{copy.isSuccess && "Copied."}</span>
    </>
  );
}
