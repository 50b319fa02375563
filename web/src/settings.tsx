import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { type FormEvent, type ReactNode, useState } from "react";
import { useLocation } from "wouter";
import { call, type Settings } from "./api.ts";
import { Page, Problem, ProjectNav } from "./page.tsx";
import { Text } from "./text.tsx";

const kinds: Record<Settings["kind"], string> = {
  ranking: "Rank 2 to 9 answers",
  pairwise: "Choose between 2 answers, on a scale",
  rating: "Rate each answer",
  demonstration: "Write an answer",
};

/** As the server has them where nothing is said. */
const initial: Settings = {
  ...{ kind: "ranking", overlap: 2, maxOverlap: 3, rubric: [], flags: [], goldRate: 0.05, repeatRate: 0.05 },
  ...{ leaseMinutes: 30, price: 0, currency: "$", passMark: 0.8 },
};

export function NewProject() {
  const client = useQueryClient();
  const [, go] = useLocation();
  const make = useMutation({
    mutationFn: (body: { name: string; settings: Settings }) => call("POST /api/projects", { body }),
    onSuccess: async ({ id }) => {
      await client.invalidateQueries({ queryKey: ["projects"] });
      go(`/projects/${id}/settings`);
    },
  });
  return (
    <Page title="New project">
      <SettingsForm
        settings={initial}
        fresh
        error={make.error}
        onSave={(settings, name) => make.mutate({ name, settings })}
      />
    </Page>
  );
}

export function ProjectSettings({ id, isOwner }: { id: string; isOwner: boolean }) {
  const client = useQueryClient();
  const project = useQuery({
    queryKey: ["project", id],
    queryFn: () => call("GET /api/projects/:project", { params: { project: id } }),
  });
  const refresh = () => client.invalidateQueries({ queryKey: ["project", id] });
  const save = useMutation({
    mutationFn: (settings: Settings) =>
      call("PATCH /api/projects/:project", { params: { project: id }, body: { settings } }),
    onSuccess: refresh,
  });
  if (!project.data) return <Page title="Project" error={project.error} />;
  const { name, settings, tasks, complete } = project.data;
  return (
    <Page title={name}>
      <ProjectNav id={id} here="/settings" />
      <p className="facts">
        {complete} of {tasks} tasks have all their judgements.
      </p>
      {isOwner && (
        <>
          <h2>Tasks</h2>
          <Import id={id} onDone={refresh} />
          <h2>People</h2>
          <Invite id={id} />
          <h2>Guidelines</h2>
          <GuidelinesForm id={id} />
          <h2>How it works</h2>
          <SettingsForm
            settings={settings}
            error={save.error}
            saved={save.isSuccess}
            onSave={(changed) => save.mutate(changed)}
          />
        </>
      )}
      <h2>Export</h2>
      <ul>
        {[
          ["rankings", "rankings with weights, for the reward model"],
          ["preference", "preference pairs, in TRL's columns"],
          ["prompt-completion", "demonstrations"],
          ["judgements", "every judgement with who, when and in which order"],
          ["log", "the whole store's log"],
        ].map(([format, what]) => (
          <li key={format}>
            <a href={`/api/projects/${id}/export?format=${format}`} download>
              {what}
            </a>
          </li>
        ))}
      </ul>
    </Page>
  );
}

/** A number that is being typed: nothing is no zero. */
const typed = (value: number) => (Number.isNaN(value) ? "" : value);

function Field({ label, hint, children }: { label: string; hint?: string; children: ReactNode }) {
  return (
    <label>
      {label}
      {children}
      {hint && <small>{hint}</small>}
    </label>
  );
}

function SettingsForm({
  settings,
  fresh = false,
  error,
  saved = false,
  onSave,
}: {
  settings: Settings;
  fresh?: boolean;
  error: Error | null;
  saved?: boolean;
  onSave: (settings: Settings, name: string) => void;
}) {
  const [name, setName] = useState("");
  const [draft, setDraft] = useState(settings);
  const change = (part: Partial<Settings>) => setDraft({ ...draft, ...part });
  type Numbers = { [K in keyof Settings]: Settings[K] extends number ? K : never }[keyof Settings];
  const number = (
    key: NonNullable<Numbers>,
    options: { min: number; max?: number; step?: number | "any" },
  ) => (
    <input
      type="number"
      required
      {...{ step: 1, ...options }}
      value={typed(draft[key])}
      onChange={({ target }) => change({ [key]: target.valueAsNumber })}
    />
  );
  const submit = (event: FormEvent) => {
    event.preventDefault();
    onSave(draft, name);
  };
  return (
    <form onSubmit={submit} className="narrow">
      {fresh && (
        <>
          <Field label="Name">
            <input value={name} required maxLength={100} onChange={({ target }) => setName(target.value)} />
          </Field>
          <fieldset>
            <legend>What labelers do</legend>
            {(Object.keys(kinds) as Settings["kind"][]).map((kind) => (
              <label key={kind}>
                <input
                  type="radio"
                  name="kind"
                  checked={draft.kind === kind}
                  onChange={() => change({ kind })}
                />
                {kinds[kind]}
              </label>
            ))}
          </fieldset>
        </>
      )}
      <Field label="Judgements of each task" hint="By as many labelers.">
        {number("overlap", { min: 1, max: 50 })}
      </Field>
      <Field label="At most, where they disagree">{number("maxOverlap", { min: 1, max: 50 })}</Field>
      <Rubric rubric={draft.rubric} onChange={(rubric) => change({ rubric })} />
      <Field label="Marks" hint="What an answer can be marked with, separated by commas.">
        <input
          defaultValue={draft.flags.join(", ")}
          onChange={({ target }) =>
            change({
              flags: target.value
                .split(",")
                .map((flag) => flag.trim())
                .filter(Boolean),
            })
          }
        />
      </Field>
      <details>
        <summary>More</summary>
        <Field
          label="Share of tasks with a known answer"
          hint="Labelers are measured by them. They do not see which."
        >
          {number("goldRate", { min: 0, max: 0.5, step: "any" })}
        </Field>
        <Field label="Share of tasks asked again" hint="Tells whether somebody answers the same twice.">
          {number("repeatRate", { min: 0, max: 0.5, step: "any" })}
        </Field>
        <Field label="Minutes that a task is kept for somebody who does nothing">
          {number("leaseMinutes", { min: 1, max: 1440 })}
        </Field>
        <Field label="Skill that labelers need" hint="Empty for none.">
          <input
            value={draft.skill ?? ""}
            onChange={({ target }) => {
              const { skill: _, ...rest } = draft;
              setDraft(target.value ? { ...rest, skill: target.value } : rest);
            }}
          />
        </Field>
        <Field label="Price of a judgement">{number("price", { min: 0, step: "any" })}</Field>
        <Field label="Currency">
          <input
            value={draft.currency}
            maxLength={8}
            onChange={({ target }) => change({ currency: target.value })}
          />
        </Field>
        <Field label="Share of the questions to be answered rightly">
          {number("passMark", { min: 0, max: 1, step: "any" })}
        </Field>
      </details>
      <Problem error={error} />
      <button type="submit">{fresh ? "Make the project" : "Save"}</button>
      {saved && <p role="status">Saved.</p>}
    </form>
  );
}

type Criterion = Settings["rubric"][number];

function Rubric({ rubric, onChange }: { rubric: Criterion[]; onChange: (rubric: Criterion[]) => void }) {
  const change = (place: number, part: Partial<Criterion>) =>
    onChange(rubric.map((one, i) => (i === place ? { ...one, ...part } : one)));
  return (
    <fieldset>
      <legend>Rate each answer on</legend>
      {rubric.map((criterion, i) => (
        <div key={i} className="row">
          <input
            aria-label={`Criterion ${i + 1}`}
            value={criterion.name}
            required
            placeholder="truthfulness"
            onChange={({ target }) => change(i, { name: target.value })}
          />
          {(["low", "high"] as const).map((end) => (
            <input
              key={end}
              type="number"
              className="short"
              aria-label={`${end === "low" ? "Lowest" : "Highest"} of criterion ${i + 1}`}
              required
              value={typed(criterion[end])}
              onChange={({ target }) => change(i, { [end]: target.valueAsNumber })}
            />
          ))}
          <button
            type="button"
            className="quiet"
            aria-label={`Remove criterion ${i + 1}`}
            onClick={() => onChange(rubric.filter((_, other) => other !== i))}
          >
            Remove
          </button>
        </div>
      ))}
      <button
        type="button"
        className="quiet"
        onClick={() => onChange([...rubric, { name: "", low: 1, high: 7 }])}
      >
        Add a criterion
      </button>
    </fieldset>
  );
}

/** What becomes of a file's preferences. */
const uses = [
  ["", "left out: the tasks are judged here"],
  ["gold", "the known answer, to measure labelers by"],
  ["judgements", "what its labelers judged"],
] as const;

function Import({ id, onDone }: { id: string; onDone: () => void }) {
  const [use, setUse] = useState<(typeof uses)[number][0]>("");
  const add = useMutation({
    mutationFn: async (file: File) =>
      call("POST /api/projects/:project/import", {
        params: { project: id },
        body: { name: file.name, text: await file.text(), ...(use && { use }) },
      }),
    onSuccess: onDone,
  });
  return (
    <div className="narrow">
      <label>
        Import a file
        <input
          type="file"
          accept=".jsonl,.json,.csv"
          onChange={({ target }) => {
            const [file] = target.files ?? [];
            if (file) add.mutate(file);
            target.value = "";
          }}
        />
        <small>
          JSON lines, JSON or CSV: hh-rlhf, TRL's columns, Open Assistant trees, UltraFeedback, Label Studio,
          Argilla, or prompts with completions. Parquet files: plumbline labels import.
        </small>
      </label>
      <label>
        What it prefers is
        <select value={use} onChange={({ target }) => setUse(target.value as typeof use)}>
          {uses.map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <Problem error={add.error} />
      <div role="status">
        {add.isPending && <p>Importing …</p>}
        {add.data && (
          <>
            <p>
              {add.data.format}: {add.data.kept} tasks made of {add.data.rows} rows
              {add.data.judgements > 0 && `, with ${add.data.judgements} judgements`}.
            </p>
            <ul>
              {Object.entries(add.data.dropped).map(([reason, count]) => (
                <li key={reason}>
                  {count} dropped: {reason}
                </li>
              ))}
            </ul>
          </>
        )}
      </div>
    </div>
  );
}

function Invite({ id }: { id: string }) {
  const [role, setRole] = useState<"labeler" | "reviewer" | "owner">("labeler");
  const invite = useMutation({
    mutationFn: () =>
      call("POST /api/projects/:project/invitations", { params: { project: id }, body: { role } }),
  });
  return (
    <div className="narrow">
      <label>
        Invite
        <select value={role} onChange={({ target }) => setRole(target.value as typeof role)}>
          <option value="labeler">a labeler</option>
          <option value="reviewer">a reviewer, who sees everybody's answers</option>
          <option value="owner">an owner, who can change everything</option>
        </select>
      </label>
      <Problem error={invite.error} />
      <button type="button" onClick={() => invite.mutate()}>
        Make a link
      </button>
      {invite.data && (
        <>
          <label>
            Send this link to one person. It works once, until{" "}
            {new Date(invite.data.expires).toLocaleDateString()}.
            <input readOnly value={invite.data.link} onFocus={({ target }) => target.select()} />
          </label>
          {/* Browsers have it on https and on this machine only. */}
          {navigator.clipboard && <Copy key={invite.data.link} text={invite.data.link} />}
        </>
      )}
    </div>
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

/** A question as it is written: one answer a line, and which is right once that is chosen. */
interface Asked {
  question: string;
  options: string;
  correct: number | "";
}
const optionsOf = ({ options }: Asked) => options.split("\n").filter((option) => option.trim());

function GuidelinesForm({ id }: { id: string }) {
  const client = useQueryClient();
  const params = { project: id };
  const now = useQuery({
    queryKey: ["guidelines", id],
    queryFn: () => call("GET /api/projects/:project/guidelines", { params }),
  });
  const [text, setText] = useState<string>();
  const [written, setAsked] = useState<Asked[]>();
  const shown = text ?? now.data?.text ?? "";
  // The server does not say again which answers are right.
  const asked =
    written ??
    (now.data?.questions ?? []).map(
      ({ question, options }): Asked => ({ question, options: options.join("\n"), correct: "" }),
    );
  const publish = useMutation({
    mutationFn: () =>
      call("POST /api/projects/:project/guidelines", {
        params,
        body: {
          text: shown,
          questions: asked.map((one) => ({
            ...{ question: one.question, options: optionsOf(one), correct: Number(one.correct) },
          })),
        },
      }),
    onSuccess: () => client.invalidateQueries(),
  });
  const change = (place: number, part: Partial<Asked>) =>
    setAsked(asked.map((one, i) => (i === place ? { ...one, ...part } : one)));
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        publish.mutate();
      }}
    >
      <div className="sides">
        <label>
          In Markdown
          <textarea
            rows={10}
            dir="auto"
            required
            value={shown}
            onChange={({ target }) => setText(target.value)}
          />
        </label>
        <section aria-label="As labelers see it">
          <Text text={shown || "…"} />
        </section>
      </div>
      {asked.map((one, i) => (
        <fieldset key={i} className="fields">
          <legend>Question {i + 1}</legend>
          <Field label="Question">
            <input
              value={one.question}
              required
              onChange={({ target }) => change(i, { question: target.value })}
            />
          </Field>
          <Field label="Answers, one a line">
            <textarea
              rows={3}
              required
              value={one.options}
              onChange={({ target }) => change(i, { options: target.value })}
            />
          </Field>
          <Field label="Right one" hint="Told to nobody, so it is chosen anew with each version.">
            <select
              required
              value={one.correct}
              onChange={({ target }) => change(i, { correct: target.value && Number(target.value) })}
            >
              <option value="">Choose</option>
              {optionsOf(one).map((option, place) => (
                <option key={place} value={place}>
                  {option}
                </option>
              ))}
            </select>
          </Field>
          <button
            type="button"
            className="quiet"
            onClick={() => setAsked(asked.filter((_, other) => other !== i))}
          >
            Remove question {i + 1}
          </button>
        </fieldset>
      ))}
      <p>
        <button
          type="button"
          className="quiet"
          onClick={() => setAsked([...asked, { question: "", options: "yes\nno", correct: "" }])}
        >
          Add a question
        </button>
      </p>
      <Problem error={publish.error} />
      <button type="submit">Publish version {(now.data?.version ?? 0) + 1}</button>
      <small> Everybody reads it, and answers the questions, before their next task.</small>
      {publish.isSuccess && <p role="status">Published.</p>}
    </form>
  );
}
