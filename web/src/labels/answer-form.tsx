import type { Settings } from "../ui/api.ts";
import { Difference, Text } from "../ui/text.tsx";
import { type Draft, letters } from "./draft.ts";
import { RankingInput } from "./ranking-input.tsx";

const degrees = ["much better", "better", "slightly better", "barely better"];
/** Labels of preferences 1 to 8. */
export const preferenceLabels = [
  ...degrees.map((degree) => `A is ${degree}`),
  ...[...degrees].reverse().map((degree) => `B is ${degree}`),
];

/**
 * Shows the completions of a task, with the inputs that the project's settings ask for.
 * @param props.hasScale whether the scale of a pairwise project is below the completions. Default: true
 */
export function AnswerForm({
  settings,
  completions,
  draft,
  onChange,
  plain = false,
  compared,
  hasScale = true,
}: {
  settings: Settings;
  completions: readonly string[];
  draft: Draft;
  onChange: (draft: Draft) => void;
  plain?: boolean;
  /** Two completions whose differences are highlighted. */
  compared?: readonly [number, number] | undefined;
  hasScale?: boolean;
}) {
  const { kind } = settings;
  const change = (part: Partial<Draft>) => onChange({ ...draft, ...part });
  if (kind === "demonstration")
    return (
      <label>
        Your response
        <textarea
          rows={12}
          dir="auto"
          value={draft.text}
          onChange={({ target }) => change({ text: target.value })}
        />
      </label>
    );
  return (
    <>
      <div className="completions" data-count={completions.length}>
        {completions.map((_, i) => (
          <Completion
            key={i}
            settings={settings}
            completions={completions}
            draft={draft}
            plain={plain}
            place={i}
            other={compared?.includes(i) ? compared[i === compared[0] ? 1 : 0] : undefined}
            onChange={change}
          />
        ))}
      </div>
      {kind === "ranking" && <RankingInput ranks={draft.ranks} onChange={(ranks) => change({ ranks })} />}
      {kind === "pairwise" && hasScale && <Preference draft={draft} onChange={change} />}
    </>
  );
}

interface AnswerPartProps {
  draft: Draft;
  onChange: (part: Partial<Draft>) => void;
}

const replaceAt = <T,>(list: readonly T[], place: number, value: T) =>
  list.map((item, i) => (i === place ? value : item));

/** One completion, with its rank, ratings and flags. */
function Completion({
  settings: { kind, rubric, flags },
  completions,
  place,
  other,
  draft,
  plain,
  onChange,
}: AnswerPartProps & {
  settings: Settings;
  completions: readonly string[];
  place: number;
  /** Completion to highlight the differences from. */
  other: number | undefined;
  plain: boolean;
}) {
  const text = completions[place] as string;
  return (
    <section className="completion" aria-label={`Answer ${letters[place]}`}>
      <header>
        <h2>
          {kind === "ranking" && <kbd>{letters[place]?.toLowerCase()}</kbd>} Answer {letters[place]}
        </h2>
        {kind === "ranking" && (
          <label className="rank">
            Rank
            <select
              value={draft.ranks[place] ?? ""}
              onChange={({ target }) =>
                onChange({ ranks: replaceAt(draft.ranks, place, target.value ? Number(target.value) : null) })
              }
            >
              <option value="">–</option>
              {completions.map((_, rank) => (
                <option key={rank} value={rank + 1}>
                  {rank + 1}
                </option>
              ))}
            </select>
          </label>
        )}
      </header>
      {other === undefined ? (
        <Text text={text} plain={plain} />
      ) : (
        <Difference text={text} from={completions[other] as string} />
      )}
      {rubric.map(({ name, low, high }) => (
        <Choices
          key={name}
          legend={name}
          name={`${name} of ${letters[place]}`}
          options={Array.from({ length: high - low + 1 }, (_, step) => ({
            value: low + step,
            label: String(low + step),
          }))}
          value={draft.ratings[name]?.[place] ?? null}
          onChange={(rating) =>
            onChange({
              ratings: { ...draft.ratings, [name]: replaceAt(draft.ratings[name] ?? [], place, rating) },
            })
          }
        />
      ))}
      {flags.length > 0 && <Flags flags={flags} draft={draft} place={place} onChange={onChange} />}
    </section>
  );
}

const Flags = ({
  flags,
  draft,
  place,
  onChange,
}: AnswerPartProps & { flags: readonly string[]; place: number }) => (
  <fieldset className="flags">
    <legend>Mark answer {letters[place]}</legend>
    {flags.map((flag) => (
      <label key={flag}>
        <input
          type="checkbox"
          checked={draft.flags[flag]?.[place] ?? false}
          onChange={({ target }) =>
            onChange({
              flags: { ...draft.flags, [flag]: replaceAt(draft.flags[flag] ?? [], place, target.checked) },
            })
          }
        />
        {flag}
      </label>
    ))}
  </fieldset>
);

/** The scale of a pairwise project in one row, from "A is much better" to "B is much better". */
export const Preference = ({ draft, onChange }: AnswerPartProps) => (
  <div className="preference">
    <span aria-hidden="true">A ◀</span>
    <Choices
      legend="Which answer is better?"
      name="preference"
      options={preferenceLabels.map((label, i) => ({ value: i + 1, label, key: String(i + 1) }))}
      value={draft.bothBad ? null : draft.preference}
      onChange={(preference) => onChange({ preference, bothBad: false })}
    />
    <span aria-hidden="true">▶ B</span>
    <label className="both">
      <input
        type="checkbox"
        checked={draft.bothBad}
        onChange={({ target }) => onChange({ bothBad: target.checked, preference: null })}
      />
      <kbd>0</kbd> Both are bad
    </label>
  </div>
);

function Choices({
  legend,
  name,
  options,
  value,
  onChange,
}: {
  legend: string;
  name: string;
  options: readonly { value: number; label: string; key?: string }[];
  value: number | null;
  onChange: (value: number) => void;
}) {
  return (
    <fieldset
      className="choices"
      onKeyDown={(event) => {
        // Number keys act on the focused group, not on the page.
        const place = options.findIndex(({ value }) => String(value) === event.key);
        if (place < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
        event.stopPropagation();
        event.currentTarget.querySelectorAll("input")[place]?.focus();
        onChange(options[place]?.value as number);
      }}
    >
      <legend dir="auto">{legend}</legend>
      {options.map((option) => (
        <label
          key={option.value}
          className={option.value === value ? "chosen" : ""}
          title={option.key && option.label}
        >
          <input
            type="radio"
            name={name}
            checked={option.value === value}
            onChange={() => onChange(option.value)}
          />
          {option.key && <kbd>{option.key}</kbd>}
          <span>{option.label}</span>
        </label>
      ))}
    </fieldset>
  );
}
