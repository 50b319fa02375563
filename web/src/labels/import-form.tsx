import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "../ui/api.ts";
import { Choose, Problem } from "../ui/page.tsx";

/** What becomes of a file's preferences. */
const uses = [
  ["", "left out: the tasks are judged here"],
  ["gold", "the known answer, to measure labelers by"],
  ["judgements", "what its labelers judged"],
] as const;

/** A file as it is sent: text, or what is none in base64. */
async function contentOf(file: File): Promise<{ text: string } | { base64: string }> {
  if (!/\.parquet$/i.test(file.name)) return { text: await file.text() };
  const url = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  return { base64: url.slice(url.indexOf(",") + 1) };
}

/** Takes tasks, and what was said of them, from a file. */
export function Import({ id, onDone }: { id: string; onDone: () => void }) {
  const [use, setUse] = useState<(typeof uses)[number][0]>("");
  const add = useMutation({
    mutationFn: async (file: File) =>
      call("POST /api/projects/:project/import", {
        params: { project: id },
        body: { name: file.name, ...(await contentOf(file)), ...(use && { use }) },
      }),
    onSuccess: onDone,
  });
  return (
    <div className="narrow">
      <label>
        Import a file
        <input
          type="file"
          accept=".jsonl,.json,.csv,.parquet"
          onChange={({ target }) => {
            const [file] = target.files ?? [];
            if (file) add.mutate(file);
            target.value = "";
          }}
        />
        <small>
          JSON lines, JSON, CSV or Parquet: hh-rlhf, TRL's columns, Open Assistant trees, UltraFeedback, Label
          Studio, Argilla, or prompts with completions.
        </small>
      </label>
      <Choose label="What it prefers is" value={use} options={uses} onChange={setUse} />
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
