import { useMutation } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import type { Settings } from "../ui/api.ts";
import { Field, Problem, Unsent } from "../ui/page.tsx";
import { useKept } from "../ui/persistent-state.ts";

const kinds: Record<Settings["kind"], string> = {
  ranking: "Rank 2 to 9 answers",
  pairwise: "Choose between 2 answers, on a scale",
  rating: "Rate each answer",
  demonstration: "Write an answer",
};

/** As the server has them where nothing is said. */
const initial: Settings = {
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

/** A number that is being typed: nothing is no zero. What was kept of nothing is null. */
const typed = (value: number | null | undefined) => (value == null || Number.isNaN(value) ? "" : value);

/** How a project works. What is changed is kept until it is saved. @param keptAs what tells it from other forms */
export function SettingsForm({
  settings,
  keptAs,
  onSave,
}: {
  /** None for a project that is to be made. */
  settings?: Settings;
  keptAs: string;
  onSave: (settings: Settings, name: string) => Promise<unknown>;
}) {
  const fresh = settings === undefined;
  const [changes, setChanges] = useKept<Partial<Settings> & { name?: string }>(`settings ${keptAs}`);
  /** Another one draws every field anew. */
  const [round, setRound] = useState(0);
  const { name = "", ...draft } = { ...initial, ...settings, ...changes };
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
    <form key={round} onSubmit={submit} className="narrow">
      {fresh && (
        <>
          <Field label="Name">
            <input
              value={name}
              required
              maxLength={100}
              onChange={({ target }) => change({ name: target.value })}
            />
          </Field>
          <Kinds kind={draft.kind} onChange={(kind) => change({ kind })} />
        </>
      )}
      <Field label="Judgements of each task" hint="By as many labelers.">
        <NumberInput of="overlap" draft={draft} onChange={change} min={1} max={50} />
      </Field>
      <Field label="At most, where they disagree">
        <NumberInput of="maxOverlap" draft={draft} onChange={change} min={1} max={50} />
      </Field>
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
      <MoreSettings draft={draft} onChange={change} />
      <Problem error={save.error} />
      <button type="submit" disabled={save.isPending}>
        {fresh ? "Make the project" : "Save"}
      </button>
      <Unsent
        what={changes && "Not saved yet"}
        done={save.isSuccess && "Saved."}
        onDiscard={() => {
          setChanges(undefined);
          setRound(round + 1);
        }}
      />
    </form>
  );
}

interface Part {
  draft: Settings;
  onChange: (part: Partial<Settings>) => void;
}

type NumberSetting = {
  [K in keyof Settings]-?: NonNullable<Settings[K]> extends number ? K : never;
}[keyof Settings];

function NumberInput({
  of,
  draft,
  onChange,
  ...limits
}: Part & { of: NumberSetting; min: number; max?: number; step?: number | "any" }) {
  return (
    <input
      type="number"
      required
      step={1}
      {...limits}
      value={typed(draft[of])}
      onChange={({ target }) => onChange({ [of]: target.valueAsNumber })}
    />
  );
}

const Kinds = ({
  kind,
  onChange,
}: {
  kind: Settings["kind"];
  onChange: (kind: Settings["kind"]) => void;
}) => (
  <fieldset>
    <legend>What labelers do</legend>
    {(Object.keys(kinds) as Settings["kind"][]).map((one) => (
      <label key={one}>
        <input type="radio" name="kind" checked={one === kind} onChange={() => onChange(one)} />
        {kinds[one]}
      </label>
    ))}
  </fieldset>
);

/** Settings that most projects leave as they are. */
const MoreSettings = ({ draft, onChange }: Part) => (
  <details
    onInvalidCapture={({ currentTarget }) => {
      // What is wrong in it is to be seen.
      currentTarget.open = true;
    }}
  >
    <summary>More</summary>
    <Field
      label="Share of tasks with a known answer"
      hint="Labelers are measured by them. They do not see which."
    >
      <NumberInput of="goldRate" draft={draft} onChange={onChange} min={0} max={0.5} step="any" />
    </Field>
    <Field label="Share of tasks asked again" hint="Tells whether somebody answers the same twice.">
      <NumberInput of="repeatRate" draft={draft} onChange={onChange} min={0} max={0.5} step="any" />
    </Field>
    <Field label="Minutes that a task is kept for somebody who does nothing">
      <NumberInput of="leaseMinutes" draft={draft} onChange={onChange} min={1} max={1440} />
    </Field>
    <Field label="Skill that labelers need" hint="Empty for none.">
      <input value={draft.skill ?? ""} onChange={({ target }) => onChange({ skill: target.value })} />
    </Field>
    <Field label="Price of a judgement">
      <NumberInput of="price" draft={draft} onChange={onChange} min={0} step="any" />
    </Field>
    <Field label="Currency">
      <input
        value={draft.currency}
        maxLength={8}
        onChange={({ target }) => onChange({ currency: target.value })}
      />
    </Field>
    <Field label="Comparisons wanted" hint="The quality page reckons what they would cost.">
      <NumberInput of="target" draft={draft} onChange={onChange} min={1} max={1e9} />
    </Field>
    <Field label="Share of the questions to be answered rightly">
      <NumberInput of="passMark" draft={draft} onChange={onChange} min={0} max={1} step="any" />
    </Field>
  </details>
);

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
