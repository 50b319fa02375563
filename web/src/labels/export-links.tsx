import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { basePath, call } from "../ui/api.ts";
import { ErrorMessage, Select } from "../ui/page.tsx";

const formats = [
  ["rankings", "rankings with weights, for the reward model"],
  ["preference", "preference pairs, in TRL's columns"],
  ["prompt-completion", "demonstrations, in TRL's columns"],
  ["unpaired", "thumbs up and down, in TRL's columns"],
  ["judgements", "every judgement with who, when and in which order"],
  ["hh-rlhf", "hh-rlhf transcripts"],
  ["openai", "OpenAI's summarisation comparisons"],
  ["open-assistant", "Open Assistant trees"],
  ["ultrafeedback", "UltraFeedback ratings"],
  ["label-studio", "Label Studio pairwise tasks"],
  ["argilla", "Argilla records"],
  ["log", "the whole store's log"],
] as const;

/** Links that download a project's labels, with what each format would hold. */
export function ExportLinks({ id }: { id: string }) {
  const [format, setFormat] = useState<(typeof formats)[number][0]>("rankings");
  const counts = useQuery({
    queryKey: ["exports", id],
    queryFn: () => call("GET /api/projects/:project/exports", { params: { project: id } }),
  });
  const countOf = (name: string) => counts.data?.find(({ format }) => format === name);
  const count = countOf(format);
  return (
    <div className="narrow">
      <Select
        label="Format"
        value={format}
        options={formats.map(
          ([name, text]) => [name, countOf(name)?.rows === 0 ? `${text} (nothing to export)` : text] as const,
        )}
        onChange={setFormat}
      />
      {count?.rows !== 0 && (
        <p className="actions">
          {(
            [
              ["jsonl", "JSON lines"],
              ["json", "JSON"],
              ["csv", "CSV"],
              ["parquet", "Parquet"],
            ] as const
          ).map(([as, name]) => (
            <a key={as} href={`${basePath}/api/projects/${id}/export?format=${format}&as=${as}`} download>
              {name}
            </a>
          ))}
        </p>
      )}
      <ErrorMessage error={counts.error} />
      <div role="status">
        {count && (
          <>
            <p>{count.rows ? `${count.rows} rows.` : "Nothing to export in this format."}</p>
            <ul>
              {Object.entries(count.dropped).map(([reason, tasks]) => (
                <li key={reason}>
                  {tasks} tasks left out: {reason}
                </li>
              ))}
            </ul>
          </>
        )}
      </div>
    </div>
  );
}
