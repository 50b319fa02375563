import { type ReactNode, useEffect, useRef } from "react";
import { Link } from "wouter";
import { ApiError, basePath } from "./api.ts";

/**
 * A page with its heading. The heading gets the focus when the page opens, so that screen readers begin there.
 * @param props.project name of the project that the page is about, unless the title is that
 */
export function Page({
  title,
  project,
  wide = false,
  error,
  children,
}: {
  title: string;
  project?: string | undefined;
  wide?: boolean;
  error?: Error | null | undefined;
  children?: ReactNode;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = [title, project, "plumbline"].filter(Boolean).join(" · ");
  }, [title, project]);
  useEffect(() => {
    if (title) heading.current?.focus();
  }, [title]);
  return (
    <main id="main" className={wide ? "wide" : ""}>
      {project && (
        <p className="project" dir="auto">
          {project}
        </p>
      )}
      <h1 ref={heading} tabIndex={-1} dir="auto">
        {title}
      </h1>
      <ErrorMessage error={error} />
      {children}
    </main>
  );
}

/** An error message, which screen readers announce at once. */
export const ErrorMessage = ({ error }: { error?: Error | null | undefined }) =>
  error ? (
    <p className="problem" role="alert" dir="auto">
      {capitalise(error.message)}
      {error instanceof ApiError && error.status === 401 && (
        <>
          {": "}
          {/* In a new tab, so that the input on this page is not lost. */}
          <a href={`${basePath}/login`} target="_blank" rel="noreferrer">
            sign in in a new tab
          </a>
          , then try again here
        </>
      )}
    </p>
  ) : null;

/** Writes a sentence's first letter as a capital. Names of files, such as `rows.csv`, stay as they are. */
const capitalise = (text: string): string =>
  text.replace(/^[a-z](?=[a-z]*[ ,:])/, (letter) => letter.toUpperCase());

const projectPages = [
  ["/settings", "Set up"],
  ["/quality", "Quality"],
  ["/labelers", "Labelers"],
  ["/disputes", "Disputes"],
  ["", "Label"],
] as const;

/** Links between the pages of a project, for reviewers and owners. @param here path of the current page */
export function ProjectNav({ id, here }: { id: string; here?: (typeof projectPages)[number][0] }) {
  return (
    <nav aria-label="Project" className="tabs">
      {projectPages.map(([part, name]) => (
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

/** A select box. @param options value and visible text of each option @param isLabelHidden shows it to screen readers only */
export function Select<T extends string>({
  label,
  value,
  options,
  onChange,
  isLabelHidden = false,
}: {
  label: string;
  value: T;
  options: readonly (readonly [value: T, name: string])[];
  onChange: (value: T) => void;
  isLabelHidden?: boolean;
}) {
  return (
    <label>
      {isLabelHidden ? <span className="hidden">{label}</span> : label}
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

/**
 * Says that changes are stored in this browser only, with a button that discards them.
 * @param unsaved start of the notice; undefined without changes @param saved notice after saving
 */
export const UnsavedNotice = ({
  unsaved,
  saved,
  onDiscard,
}: {
  unsaved: string | undefined;
  saved: string | false;
  onDiscard: () => void;
}) => (
  <p className="actions">
    <span role="status">{unsaved ? `${unsaved}: stored in this browser only.` : saved}</span>
    {unsaved && (
      <button type="button" className="quiet" onClick={onDiscard}>
        Discard
      </button>
    )}
  </p>
);
