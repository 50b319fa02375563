import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../ui/api.ts";
import { ErrorMessage, Select } from "../ui/page.tsx";

/** How a file's preferences are imported. */
const preferenceUses = [
  ["", "left out: labelers judge the tasks here"],
  ["gold", "imported as known answers, to measure labelers by"],
  ["judgements", "imported as judgements of the file's labelers"],
] as const;

/** Encodes a file for the request: as text; Parquet and gzipped files, or what may not be text, as base64. */
async function toRequestBody(file: File): Promise<{ text: string } | { base64: string }> {
  if (/\.(jsonl?|csv|tsv|txt)$/i.test(file.name)) return { text: await file.text() };
  const url = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  return { base64: url.slice(url.indexOf(",") + 1) };
}

/** Imports tasks, and preferences between their completions, from a file. */
export function ImportForm({ id, onDone }: { id: string; onDone: () => void }) {
  const [use, setUse] = useState<(typeof preferenceUses)[number][0]>("");
  const add = useMutation({
    mutationFn: async (file: File) =>
      call("POST /api/projects/:project/import", {
        params: { project: id },
        body: { name: file.name, ...(await toRequestBody(file)), ...(use && { use }) },
      }),
    onSuccess: onDone,
  });
  return (
    <div className="narrow">
      <label>
        Import a file
        <input
          type="file"
          accept=".jsonl,.json,.csv,.tsv,.parquet,.gz"
          onChange={({ target }) => {
            const [file] = target.files ?? [];
            if (file) add.mutate(file);
            target.value = "";
          }}
        />
        <small>
          JSON lines, JSON, CSV, TSV (gzipped too) or Parquet: hh-rlhf, TRL's columns, Open Assistant trees,
          UltraFeedback, Label Studio, Argilla, or prompts with completions.
        </small>
      </label>
      <Select label="Preferences in the file are" value={use} options={preferenceUses} onChange={setUse} />
      <ErrorMessage error={add.error} />
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
                  {add.data.examples[reason] && ` (line ${add.data.examples[reason].join(", ")})`}
                </li>
              ))}
            </ul>
          </>
        )}
      </div>
    </div>
  );
}
