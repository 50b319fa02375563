import { useState } from "react";
import { basePath } from "../ui/api.ts";
import { Select } from "../ui/page.tsx";

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

/** Links that download a project's labels. */
export function ExportLinks({ id }: { id: string }) {
  const [format, setFormat] = useState<(typeof formats)[number][0]>("rankings");
  return (
    <div className="narrow">
      <Select label="Format" value={format} options={formats} onChange={setFormat} />
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
    </div>
  );
}
