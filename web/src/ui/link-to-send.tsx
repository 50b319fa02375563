import { useMutation } from "@tanstack/react-query";
import { ErrorMessage } from "./page.tsx";

/** Shows a link that gives access like a password, with a button that copies it. */
export const LinkToSend = ({ link, expires }: { link: string; expires: number }) => (
  <SecretField
    label={`Send this link to one person. It works once, until ${new Date(expires).toLocaleString()}.`}
    secret={link}
    copyLabel="Copy the link"
  />
);

/** Shows a secret, which is shown once, with a button that copies it. */
export function SecretField({
  label,
  secret,
  copyLabel,
}: {
  label: string;
  secret: string;
  copyLabel: string;
}) {
  return (
    <>
      <label>
        {label}
        <input readOnly value={secret} onFocus={({ target }) => target.select()} />
      </label>
      {/* Browsers have the clipboard API on https and localhost only. */}
      {navigator.clipboard && <Copy key={secret} text={secret} label={copyLabel} />}
    </>
  );
}

function Copy({ text, label }: { text: string; label: string }) {
  const copy = useMutation({ mutationFn: () => navigator.clipboard.writeText(text) });
  return (
    <>
      <ErrorMessage error={copy.error} />
      <button type="button" className="quiet" onClick={() => copy.mutate()}>
        {label}
      </button>
      <span role="status">{copy.isSuccess && "Copied."}</span>
    </>
  );
}
