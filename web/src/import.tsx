import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { call } from "./api.ts";
import { Problem } from "./page.tsx";

/** Takes tasks from a file. */
export function Import({ id, onDone }: { id: string; onDone: () => void }) {
  const [gold, setGold] = useState(false);
  const add = useMutation({
    mutationFn: async (file: File) =>
      call("POST /api/projects/:project/import", {
        params: { project: id },
        body: { name: file.name, text: await file.text(), gold },
      }),
    onSuccess: onDone,
  });
  return (
    <div className="narrow">
      <label>
        Import a file
        <input
          type="file"
          accept=".jsonl,.json"
          onChange={({ target }) => {
            const [file] = target.files ?? [];
            if (file) add.mutate(file);
            target.value = "";
          }}
        />
        <small>JSON lines: hh-rlhf, TRL's columns, Open Assistant trees, or prompts with completions.</small>
      </label>
      <label>
        <input type="checkbox" checked={gold} onChange={({ target }) => setGold(target.checked)} />
        What it prefers is the known answer, to measure labelers by
      </label>
      <Problem error={add.error} />
      <div role="status">
        {add.isPending && <p>Importing …</p>}
        {add.data && (
          <>
            <p>
              {add.data.format}: {add.data.kept} tasks made of {add.data.rows} rows.
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
