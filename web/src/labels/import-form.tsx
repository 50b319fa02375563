import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { call, type ImportPreview, type Settings } from "../ui/api.ts";
import { ErrorMessage, Select } from "../ui/page.tsx";
import { ImportColumns } from "./import-columns.tsx";
import { ImportSamples } from "./import-samples.tsx";

type PreferenceUse = "" | "gold" | "judgements";

/** What a file can be for. @param kind of the project's tasks */
const purposes = (kind: Settings["kind"]): readonly (readonly [PreferenceUse, string])[] =>
  kind === "demonstration"
    ? [
        ["", "prompts to answer; an answer in the file is what labelers begin from"],
        ["judgements", "answers that were written elsewhere"],
      ]
    : [
        ["", "tasks to judge; what the file prefers is left out"],
        ["gold", "tasks with a known answer, to measure labelers by"],
        ["judgements", "judgements that were made elsewhere"],
      ];

/** A file to import. */
interface Chosen {
  file: File;
  /** Number of the choice: a file may be chosen again after it was changed. */
  choice: number;
}

/** Imports a file in steps: what it is for, the file, its columns, a preview of tasks, and a button. */
export function ImportForm({ id, kind, onDone }: { id: string; kind: Settings["kind"]; onDone: () => void }) {
  const [use, setUse] = useState<PreferenceUse>("");
  const [chosen, setChosen] = useState<Chosen>();
  const [imported, setImported] = useState<ImportReport>();
  return (
    <div className="import">
      <div className="narrow">
        <Select label="The file is for" value={use} options={purposes(kind)} onChange={setUse} />
        <label>
          File
          <input
            type="file"
            accept=".jsonl,.json,.csv,.tsv,.parquet,.gz"
            aria-describedby="file-formats"
            onChange={({ target }) => {
              const [file] = target.files ?? [];
              setImported(undefined);
              if (file) setChosen({ file, choice: (chosen?.choice ?? 0) + 1 });
              // The same file can be chosen again.
              target.value = "";
            }}
          />
        </label>
        <small id="file-formats">
          JSON lines, JSON, CSV, TSV (gzipped too) or Parquet: hh-rlhf, TRL's columns, Open Assistant trees,
          UltraFeedback, Label Studio, Argilla, or a table with a prompt and its answers. Nothing is imported
          yet.
        </small>
      </div>
      {chosen && (
        <Preview
          key={chosen.choice}
          id={id}
          chosen={chosen}
          use={use}
          onCancel={() => setChosen(undefined)}
          onDone={(report) => {
            setChosen(undefined);
            setImported(report);
            onDone();
          }}
        />
      )}
      <p role="status">{imported && `Imported: ${describe(imported)}.`}</p>
    </div>
  );
}

/** What would be imported of a file, and the button that does. */
function Preview({
  id,
  chosen: { file, choice },
  use,
  onCancel,
  onDone,
}: {
  id: string;
  chosen: Chosen;
  use: PreferenceUse;
  onCancel: () => void;
  onDone: (report: ImportReport) => void;
}) {
  const [columns, setColumns] = useState<Record<string, string>>();
  const request = async (mapping = columns) => ({
    params: { project: id },
    body: {
      name: file.name,
      ...(await toContents(file)),
      ...(use && { use }),
      ...(mapping && { columns: mapping }),
    },
  });
  const preview = useQuery({
    queryKey: ["import", id, choice, use, columns],
    queryFn: async () => call("POST /api/projects/:project/import/preview", await request()),
    gcTime: 0,
    // What was shown stays until the next is there: otherwise the page would jump.
    placeholderData: (previous) => previous,
  });
  const add = useMutation({
    mutationFn: async () => call("POST /api/projects/:project/import", await request(preview.data?.mapping)),
    onSuccess: onDone,
  });
  return (
    <>
      <ErrorMessage error={preview.error} />
      {preview.isFetching && <p role="status">Reading {file.name} …</p>}
      {preview.data && (
        <section aria-label="Preview" className="preview">
          <h3 dir="auto">{file.name}</h3>
          <PreviewCounts preview={preview.data} use={use} />
          <ImportColumns
            preview={preview.data}
            mapping={columns ?? preview.data.mapping}
            onChange={setColumns}
          />
          <ImportSamples samples={preview.data.samples ?? []} />
          <ErrorMessage error={add.error} />
          <p className="actions">
            <button
              type="button"
              disabled={add.isPending || preview.isFetching || !canImport(preview.data)}
              onClick={() => add.mutate()}
            >
              {add.isPending ? "Importing …" : "Import"}
            </button>
            <button type="button" className="quiet" onClick={onCancel}>
              Cancel
            </button>
          </p>
        </section>
      )}
    </>
  );
}

type ImportReport = NonNullable<ImportPreview["report"]>;

const canImport = ({ report }: ImportPreview): boolean =>
  report !== undefined && report.kept + report.judgements > 0;

const counted = (count: number, noun: string): string =>
  `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;

const describe = ({ kept, judgements }: ImportReport): string =>
  [counted(kept, "task"), ...(judgements ? [counted(judgements, "judgement")] : [])].join(", ");

/** Says what would be imported, what would not, and why. */
function PreviewCounts({
  preview: { report, problem, unused = [], preferences },
  use,
}: {
  preview: ImportPreview;
  use: PreferenceUse;
}) {
  if (problem !== undefined) return <ErrorMessage error={new Error(problem)} />;
  if (!report) return null;
  return (
    <>
      <p>
        {report.format}, {counted(report.rows, "row")}: {describe(report)} to import.
      </p>
      <ul>
        {Object.entries(report.dropped).map(([reason, count]) => (
          <li key={reason}>
            {count.toLocaleString()} dropped: {reason}
            {report.examples[reason] && ` (line ${report.examples[reason].join(", ")})`}
          </li>
        ))}
        {unused.length > 0 && <li>Columns not used: {unused.join(", ")}</li>}
        {use === "" && Boolean(preferences) && (
          <li>{counted(preferences ?? 0, "row")} with a preference or rating, which is left out</li>
        )}
      </ul>
    </>
  );
}

/** Reads a file for the request: as text; Parquet and gzipped files, or what may not be text, as base64. */
async function toContents(file: File): Promise<{ text: string } | { base64: string }> {
  if (/\.(jsonl?|csv|tsv|txt)$/i.test(file.name)) return { text: await file.text() };
  const url = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  return { base64: url.slice(url.indexOf(",") + 1) };
}
