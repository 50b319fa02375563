import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import type { Settings as ProjectSettings } from "../ui/api.ts";
import { ErrorMessage, Field, UnsavedNotice } from "../ui/page.tsx";
import { usePersistentState } from "../ui/persistent-state.ts";

/** All settings, as owners get them. */
type Settings = ProjectSettings & Required<Pick<ProjectSettings, "goldRate" | "repeatRate" | "price">>;

const kindLabels: Record<Settings["kind"], string> = {
  ranking: "Rank 2 to 9 answers",
  pairwise: "Choose between 2 answers, on a scale",
  rating: "Rate each answer",
  demonstration: "Write an answer",
};

/** The server's default settings. */
const defaultSettings: Settings = {
  kind: "ranking",
  overlap: 2,
  maxOverlap: 3,
  rubric: [],
  flags: [],
  goldRate: 0.05,
  repeatRate: 0.05,
  leaseMinutes: 30,
  price: 0,
  currency: "$",
  passMark: 0.8,
  target: 33_000,
};

/** Value of a number input: an empty input is NaN, or null after it was stored as JSON, and never 0. */
const inputValue = (value: number | null | undefined) => (value == null || Number.isNaN(value) ? "" : value);

/** Form for a project's settings. Changes are stored in the browser until they are saved. @param storageKey names them there */
export function SettingsForm({
  name: currentName = "",
  settings,
  storageKey,
  onSave,
}: {
  /** Name and settings; undefined for a new project. */
  name?: string;
  settings?: ProjectSettings;
  storageKey: string;
  onSave: (settings: Settings, name: string) => Promise<unknown>;
}) {
  const isNew = settings === undefined;
  const [changes, setChanges] = usePersistentState<Partial<Settings> & { name?: string }>(
    `settings ${storageKey}`,
  );
  /** React key of the form: a new one resets all inputs. */
  const [formKey, setFormKey] = useState(0);
  const { name = currentName, ...draft } = { ...defaultSettings, ...settings, ...changes };
  const change = (part: typeof changes) => setChanges({ ...changes, ...part });
  const save = useMutation({
    mutationFn: () => {
      const { skill, ...rest } = draft;
      return onSave(skill ? { ...rest, skill } : rest, name);
    },
    onSuccess: () => setChanges(undefined),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    save.mutate();
  };
  return (
    <form key={formKey} onSubmit={submit} className="narrow">
      <Field label="Name">
        <input
          value={name}
          required
          maxLength={100}
          onChange={({ target }) => change({ name: target.value })}
        />
      </Field>
      {isNew && <KindSelect kind={draft.kind} onChange={(kind) => change({ kind })} />}
      <Field label="Judgements of each task" hint="Each by a different labeler.">
        <NumberInput setting="overlap" draft={draft} onChange={change} min={1} max={50} />
      </Field>
      <Field label="At most, while labelers disagree">
        <NumberInput setting="maxOverlap" draft={draft} onChange={change} min={1} max={50} />
      </Field>
      <Rubric rubric={draft.rubric} onChange={(rubric) => change({ rubric })} />
      <Field label="Flags" hint="What answers can be marked with, such as spam. Separated by commas.">
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
      <MoreSettings draft={draft} onChange={change} />
      <ErrorMessage error={save.error} />
      <button type="submit" disabled={save.isPending}>
        {isNew ? "Make the project" : "Save"}
      </button>
      <UnsavedNotice
        unsaved={changes && "Not saved yet"}
        saved={save.isSuccess && "Saved."}
        onDiscard={() => {
          setChanges(undefined);
          setFormKey(formKey + 1);
        }}
      />
    </form>
  );
}

interface SettingsPartProps {
  draft: Settings;
  onChange: (part: Partial<Settings>) => void;
}

type NumberSetting = {
  [K in keyof Settings]-?: NonNullable<Settings[K]> extends number ? K : never;
}[keyof Settings];

function NumberInput({
  setting,
  draft,
  onChange,
  ...limits
}: SettingsPartProps & { setting: NumberSetting; min: number; max?: number; step?: number | "any" }) {
  return (
    <input
      type="number"
      required
      step={1}
      {...limits}
      value={inputValue(draft[setting])}
      onChange={({ target }) => onChange({ [setting]: target.valueAsNumber })}
    />
  );
}

const KindSelect = ({
  kind,
  onChange,
}: {
  kind: Settings["kind"];
  onChange: (kind: Settings["kind"]) => void;
}) => (
  <fieldset>
    <legend>What labelers do</legend>
    {(Object.keys(kindLabels) as Settings["kind"][]).map((option) => (
      <label key={option}>
        <input type="radio" name="kind" checked={option === kind} onChange={() => onChange(option)} />
        {kindLabels[option]}
      </label>
    ))}
  </fieldset>
);

/** Settings that most projects leave at their defaults. */
const MoreSettings = ({ draft, onChange }: SettingsPartProps) => (
  <details
    onInvalidCapture={({ currentTarget }) => {
      // Opens the section if an input in it is invalid.
      currentTarget.open = true;
    }}
  >
    <summary>More</summary>
    <Field
      label="Share of tasks with a known answer"
      hint="Labelers are measured by them, and do not see which they are."
    >
      <NumberInput setting="goldRate" draft={draft} onChange={onChange} min={0} max={0.5} step="any" />
    </Field>
    <Field label="Share of tasks asked again" hint="Measures whether labelers are consistent.">
      <NumberInput setting="repeatRate" draft={draft} onChange={onChange} min={0} max={0.5} step="any" />
    </Field>
    <Field label="Minutes that a task is kept for an inactive labeler">
      <NumberInput setting="leaseMinutes" draft={draft} onChange={onChange} min={1} max={1440} />
    </Field>
    <Field label="Skill that labelers need" hint="Empty for none.">
      <input value={draft.skill ?? ""} onChange={({ target }) => onChange({ skill: target.value })} />
    </Field>
    <Field label="Price of a judgement">
      <NumberInput setting="price" draft={draft} onChange={onChange} min={0} step="any" />
    </Field>
    <Field label="Currency">
      <input
        value={draft.currency}
        maxLength={8}
        onChange={({ target }) => onChange({ currency: target.value })}
      />
    </Field>
    <Field label="Comparisons wanted" hint="The quality page forecasts their cost.">
      <NumberInput setting="target" draft={draft} onChange={onChange} min={1} max={1e9} />
    </Field>
    <Field label="Share of qualification questions to answer correctly">
      <NumberInput setting="passMark" draft={draft} onChange={onChange} min={0} max={1} step="any" />
    </Field>
  </details>
);

type Criterion = Settings["rubric"][number];

function Rubric({ rubric, onChange }: { rubric: Criterion[]; onChange: (rubric: Criterion[]) => void }) {
  const change = (place: number, part: Partial<Criterion>) =>
    onChange(rubric.map((criterion, i) => (i === place ? { ...criterion, ...part } : criterion)));
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
              value={inputValue(criterion[end])}
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
