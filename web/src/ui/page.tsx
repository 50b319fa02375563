import { type ReactNode, useEffect, useRef } from "react";
import { Link } from "wouter";
import { ApiError } from "./api.ts";

/** A page with its heading, which is focused when the page opens, so that readers begin there. */
export function Page({
  title,
  wide = false,
  error,
  children,
}: {
  title: string;
  wide?: boolean;
  error?: Error | null | undefined;
  children?: ReactNode;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · plumbline`;
    heading.current?.focus();
  }, [title]);
  return (
    <main id="main" className={wide ? "wide" : ""}>
      <h1 ref={heading} tabIndex={-1} dir="auto">
        {title}
      </h1>
      <Problem error={error} />
      {children}
    </main>
  );
}

/** What went wrong, read out at once. */
export const Problem = ({ error }: { error?: Error | null | undefined }) =>
  error ? (
    <p className="problem" role="alert" dir="auto">
      {error.message}
      {error instanceof ApiError && error.status === 401 && (
        <>
          {": "}
          {/* What is on this page stays. */}
          <a href="/login" target="_blank" rel="noreferrer">
            sign in on another page
          </a>
          , then try again here
        </>
      )}
    </p>
  ) : null;

const parts = [
  ["/settings", "Set up"],
  ["/quality", "Quality"],
  ["/labelers", "Labelers"],
  ["/disputes", "Disputes"],
  ["", "Label"],
] as const;

/** Links between the pages of a project, for those who look after it. */
export function ProjectNav({ id, here }: { id: string; here?: (typeof parts)[number][0] }) {
  return (
    <nav aria-label="Project" className="tabs">
      {parts.map(([part, name]) => (
        <Link key={part} href={`/projects/${id}${part}`} aria-current={part === here ? "page" : undefined}>
          {name}
        </Link>
      ))}
    </nav>
  );
}

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

export function Field({ label, hint, children }: { label: string; hint?: string; children: ReactNode }) {
  return (
    <label>
      {label}
      {children}
      {hint && <small>{hint}</small>}
    </label>
  );
}

/** A choice of one; what each is called stands beside it. */
export function Choose<T extends string>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: readonly (readonly [value: T, name: string])[];
  onChange: (value: T) => void;
}) {
  return (
    <label>
      {label}
      <select value={value} onChange={({ target }) => onChange(target.value as T)}>
        {options.map(([value, name]) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Says that what is written is in this browser alone, or that it is no more; and takes it back if it is not wanted. */
export const Unsent = ({
  what,
  done,
  onDiscard,
}: {
  what: string | undefined;
  done: string | false;
  onDiscard: () => void;
}) => (
  <p className="actions">
    <span role="status">{what ? `${what}: this browser keeps it for you.` : done}</span>
    {what && (
      <button type="button" className="quiet" onClick={onDiscard}>
        Discard
      </button>
    )}
  </p>
);
