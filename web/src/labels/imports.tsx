import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { call, type ImportedFile } from "../ui/api.ts";
import { ConfirmDialog } from "../ui/dialogs.tsx";
import { ErrorMessage } from "../ui/page.tsx";
import { Table } from "./quality.tsx";

/** Lists the files that were imported into a project. Each can be withdrawn and restored. */
export function Imports({ id }: { id: string }) {
  const client = useQueryClient();
  const imports = useQuery({
    queryKey: ["project", id, "imports"],
    queryFn: () => call("GET /api/projects/:project/imports", { params: { project: id } }),
  });
  const change = useMutation({
    mutationFn: ({ file, withdrawn }: { file: string; withdrawn: boolean }) =>
      call("PATCH /api/projects/:project/imports/:import", {
        params: { project: id, import: file },
        body: { withdrawn },
      }),
    onSettled: () => client.invalidateQueries({ queryKey: ["project", id] }),
  });
  const [asked, setAsked] = useState<ImportedFile>();
  if (!imports.data?.length) return <ErrorMessage error={imports.error} />;
  return (
    <>
      <h2>Imported files</h2>
      <Table
        label="Imported files"
        head={["file", "when", "tasks", "judgements in it", "judged here", "withdraw"]}
        rows={imports.data.map((file) => {
          const when = new Date(file.at).toLocaleString();
          const suffix = <span className="hidden">{`${file.source} of ${when}`}</span>;
          return [
            `${file.source}${file.withdrawn ? " (withdrawn)" : ""}`,
            when,
            String(file.tasks),
            String(file.judgements),
            String(file.judged),
            file.withdrawn ? (
              <button
                key="restore"
                type="button"
                className="quiet"
                onClick={() => change.mutate({ file: file.id, withdrawn: false })}
              >
                Restore {suffix}
              </button>
            ) : (
              <button key="withdraw" type="button" className="quiet" onClick={() => setAsked(file)}>
                Withdraw {suffix}
              </button>
            ),
          ];
        })}
      />
      <ErrorMessage error={change.error} />
      {asked && (
        <ConfirmDialog
          title={`Withdraw ${asked.source}?`}
          text={`Its ${asked.tasks} tasks are no longer given to labelers, and count in no statistics and no export, nor do the judgements in it${asked.judged ? `, nor the ${asked.judged} that were made of its tasks here` : ""}. Nothing is deleted: you can restore it. The file can be imported again.`}
          action="Withdraw it"
          onConfirm={() => change.mutate({ file: asked.id, withdrawn: true })}
          onClose={() => setAsked(undefined)}
        />
      )}
    </>
  );
}
