import type { Settings } from "../ui/api.ts";
import { Difference, Text } from "../ui/text.tsx";
import { type Draft, letters } from "./draft.ts";
import { Order } from "./order.tsx";

const degrees = ["much better", "better", "slightly better", "barely better"];
/** What 1 to 8 mean. */
const preferences = [
  ...degrees.map((degree) => `A is ${degree}`),
  ...[...degrees].reverse().map((degree) => `B is ${degree}`),
];

/** The completions of a task, and everything that is asked about them. */
export function AnswerForm({
  settings,
  completions,
  draft,
  onChange,
  plain = false,
  compared,
}: {
  settings: Settings;
  completions: readonly string[];
  draft: Draft;
  onChange: (draft: Draft) => void;
  plain?: boolean;
  /** Two completions that are to be marked where they differ. */
  compared?: readonly [number, number] | undefined;
}) {
  const { kind, rubric, flags } = settings;
  const change = (part: Partial<Draft>) => onChange({ ...draft, ...part });
  const put = <T,>(list: readonly T[], place: number, value: T) =>
    list.map((one, i) => (i === place ? value : one));
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
        {completions.map((text, i) => (
          <section key={i} className="completion" aria-label={`Answer ${letters[i]}`}>
            <header>
              <h2>
                {kind === "ranking" && <kbd>{letters[i]?.toLowerCase()}</kbd>} Answer {letters[i]}
              </h2>
              {kind === "ranking" && (
                <label className="rank">
                  Rank
                  <select
                    value={draft.ranks[i] ?? ""}
                    onChange={({ target }) =>
                      change({ ranks: put(draft.ranks, i, target.value ? Number(target.value) : null) })
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
            {compared?.includes(i) ? (
              <Difference text={text} from={completions[compared[i === compared[0] ? 1 : 0]] as string} />
            ) : (
              <Text text={text} plain={plain} />
            )}
            {rubric.map(({ name, low, high }) => (
              <Choices
                key={name}
                legend={name}
                name={`${name} of ${letters[i]}`}
                options={Array.from({ length: high - low + 1 }, (_, step) => ({
                  value: low + step,
                  label: String(low + step),
                }))}
                value={draft.ratings[name]?.[i] ?? null}
                onChange={(rating) =>
                  change({ ratings: { ...draft.ratings, [name]: put(draft.ratings[name] ?? [], i, rating) } })
                }
              />
            ))}
            {flags.length > 0 && (
              <fieldset className="flags">
                <legend>Mark answer {letters[i]}</legend>
                {flags.map((flag) => (
                  <label key={flag}>
                    <input
                      type="checkbox"
                      checked={draft.flags[flag]?.[i] ?? false}
                      onChange={({ target }) =>
                        change({
                          flags: { ...draft.flags, [flag]: put(draft.flags[flag] ?? [], i, target.checked) },
                        })
                      }
                    />
                    {flag}
                  </label>
                ))}
              </fieldset>
            )}
          </section>
        ))}
      </div>
      {kind === "ranking" && <Order ranks={draft.ranks} onChange={(ranks) => change({ ranks })} />}
      {kind === "pairwise" && (
        <div className="preference">
          <Choices
            legend="Which answer is better?"
            name="preference"
            options={preferences.map((label, i) => ({ value: i + 1, label, key: String(i + 1) }))}
            value={draft.bothBad ? null : draft.preference}
            onChange={(preference) => change({ preference, bothBad: false })}
          />
          <label className="both">
            <input
              type="checkbox"
              checked={draft.bothBad}
              onChange={({ target }) => change({ bothBad: target.checked, preference: null })}
            />
            <kbd>0</kbd> Both are bad
          </label>
        </div>
      )}
    </>
  );
}

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
        // What has the focus takes numbers before the page does.
        const place = options.findIndex(({ value }) => String(value) === event.key);
        if (place < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
        event.stopPropagation();
        event.currentTarget.querySelectorAll("input")[place]?.focus();
        onChange(options[place]?.value as number);
      }}
    >
      <legend dir="auto">{legend}</legend>
      {options.map((option) => (
        <label key={option.value} className={option.value === value ? "chosen" : ""}>
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
