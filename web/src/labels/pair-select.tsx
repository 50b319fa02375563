import { letters } from "./draft.ts";

/** Selects the two completions whose differences are shown. */
export function PairSelect({
  count,
  pair,
  onChange,
}: {
  count: number;
  pair: [number, number];
  onChange: (pair: [number, number]) => void;
}) {
  const choice = (place: 0 | 1, label: string) => (
    <select
      aria-label={label}
      value={pair[place]}
      onChange={({ target }) => {
        const chosen = Number(target.value);
        onChange(place === 0 ? [chosen, pair[1]] : [pair[0], chosen]);
      }}
    >
      {Array.from({ length: count }, (_, i) => (
        <option key={i} value={i}>
          {letters[i]}
        </option>
      ))}
    </select>
  );
  return (
    <p className="pair">
      Showing the differences between {choice(0, "One answer")} and {choice(1, "Another answer")}
    </p>
  );
}
