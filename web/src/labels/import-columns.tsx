import type { ImportPreview } from "../ui/api.ts";
import { Select } from "../ui/page.tsx";
import { Table } from "./quality.tsx";

/** What a column can be read as, by the server's names. */
const meanings: readonly (readonly [name: string, meaning: string])[] = [
  ["", "as it is named"],
  ["prompt", "the prompt"],
  ...Array.from({ length: 9 }, (_, i) => [`response_${i + 1}`, `answer ${i + 1}`] as const),
  ["preferred", "which answer is better: 1, 2, A, B, tie"],
  ["chosen", "the better answer"],
  ["rejected", "the worse answer"],
  ["completions", "all answers, as a list"],
  ["completion", "the only answer"],
  ["labeler", "the labeler"],
  ["comment", "a comment"],
  ["skill", "the skill that it needs"],
];

/** Lets people say what a file's columns hold. Open if the format is unknown, or was guessed. */
export function ImportColumns({
  preview: { columns, unused, problem },
  mapping,
  onChange,
}: {
  preview: ImportPreview;
  /** The columns that are read under the server's names, as they were chosen last. */
  mapping: Record<string, string>;
  onChange: (mapping: Record<string, string>) => void;
}) {
  if (!columns.length) return null;
  const isOpen = problem !== undefined || Object.keys(mapping).length > 0;
  const meaningOf = (column: string) =>
    Object.entries(mapping).find(([, name]) => name === column)?.[0] ?? "";
  const change = (column: string, meaning: string) => {
    const others = Object.entries(mapping).filter(([ours, name]) => ours !== meaning && name !== column);
    onChange(Object.fromEntries(meaning ? [...others, [meaning, column]] : others));
  };
  return (
    <details open={isOpen}>
      <summary>Columns</summary>
      <Table
        label="Columns"
        head={["column", "begins with", "read as"]}
        words={["begins with", "read as"]}
        rows={columns.map(({ name, example }) => [
          `${name}${unused?.includes(name) ? " (not used)" : ""}`,
          example,
          <Select
            key="meaning"
            label={`Read ${name} as`}
            isLabelHidden
            value={meaningOf(name)}
            options={meanings}
            onChange={(meaning) => change(name, meaning)}
          />,
        ])}
      />
    </details>
  );
}
