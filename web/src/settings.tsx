import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { call, type Settings } from "./api.ts";
import { GuidelinesForm } from "./guidelines-form.tsx";
import { LinkToSend } from "./link-to-send.tsx";
import { Page, Problem, ProjectNav } from "./page.tsx";
import { SettingsForm } from "./settings-form.tsx";

export function NewProject() {
  const client = useQueryClient();
  const [, go] = useLocation();
  const make = async (settings: Settings, name: string) => {
    const { id } = await call("POST /api/projects", { body: { name, settings } });
    await client.invalidateQueries({ queryKey: ["projects"] });
    go(`/projects/${id}/settings`);
  };
  return (
    <Page title="New project">
      <SettingsForm fresh keptAs="new" onSave={make} />
    </Page>
  );
}

export function ProjectSettings({ id, isOwner }: { id: string; isOwner: boolean }) {
  const client = useQueryClient();
  const project = useQuery({
    queryKey: ["project", id],
    queryFn: () => call("GET /api/projects/:project", { params: { project: id } }),
  });
  const refresh = () => client.invalidateQueries({ queryKey: ["project", id] });
  const save = async (settings: Settings) => {
    await call("PATCH /api/projects/:project", { params: { project: id }, body: { settings } });
    await refresh();
  };
  if (!project.data) return <Page title="Project" error={project.error} />;
  const { name, settings, tasks, complete } = project.data;
  return (
    <Page title={name}>
      <ProjectNav id={id} here="/settings" />
      <p className="facts">
        {complete} of {tasks} tasks have all their judgements.
      </p>
      {isOwner && (
        <>
          <h2>Tasks</h2>
          <Import id={id} onDone={refresh} />
          <h2>People</h2>
          <Invite id={id} />
          <h2>Guidelines</h2>
          <GuidelinesForm id={id} />
          <h2>How it works</h2>
          <SettingsForm settings={settings} keptAs={id} onSave={save} />
        </>
      )}
      <h2>Export</h2>
      <Export id={id} />
    </Page>
  );
}

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

function Export({ id }: { id: string }) {
  const [format, setFormat] = useState<(typeof formats)[number][0]>("rankings");
  return (
    <div className="narrow">
      <label>
        What a row holds
        <select value={format} onChange={({ target }) => setFormat(target.value as typeof format)}>
          {formats.map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <p>
        {(
          [
            ["jsonl", "JSON lines"],
            ["json", "JSON"],
            ["csv", "CSV"],
            ["parquet", "Parquet"],
          ] as const
        ).map(([as, name]) => (
          <a key={as} href={`/api/projects/${id}/export?format=${format}&as=${as}`} download>
            {name}{" "}
          </a>
        ))}
      </p>
    </div>
  );
}

/** What becomes of a file's preferences. */
const uses = [
  ["", "left out: the tasks are judged here"],
  ["gold", "the known answer, to measure labelers by"],
  ["judgements", "what its labelers judged"],
] as const;

function Import({ id, onDone }: { id: string; onDone: () => void }) {
  const [use, setUse] = useState<(typeof uses)[number][0]>("");
  const add = useMutation({
    mutationFn: async (file: File) =>
      call("POST /api/projects/:project/import", {
        params: { project: id },
        body: { name: file.name, text: await file.text(), ...(use && { use }) },
      }),
    onSuccess: onDone,
  });
  return (
    <div className="narrow">
      <label>
        Import a file
        <input
          type="file"
          accept=".jsonl,.json,.csv"
          onChange={({ target }) => {
            const [file] = target.files ?? [];
            if (file) add.mutate(file);
            target.value = "";
          }}
        />
        <small>
          JSON lines, JSON or CSV: hh-rlhf, TRL's columns, Open Assistant trees, UltraFeedback, Label Studio,
          Argilla, or prompts with completions. Parquet files: plumbline labels import.
        </small>
      </label>
      <label>
        What it prefers is
        <select value={use} onChange={({ target }) => setUse(target.value as typeof use)}>
          {uses.map(([value, name]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </label>
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

function Invite({ id }: { id: string }) {
  const [role, setRole] = useState<"labeler" | "reviewer" | "owner">("labeler");
  const invite = useMutation({
    mutationFn: () =>
      call("POST /api/projects/:project/invitations", { params: { project: id }, body: { role } }),
  });
  return (
    <div className="narrow">
      <label>
        Invite
        <select value={role} onChange={({ target }) => setRole(target.value as typeof role)}>
          <option value="labeler">a labeler</option>
          <option value="reviewer">a reviewer, who sees everybody's answers</option>
          <option value="owner">an owner, who can change everything</option>
        </select>
      </label>
      <Problem error={invite.error} />
      <button type="button" onClick={() => invite.mutate()}>
        Make a link
      </button>
      {invite.data && <LinkToSend {...invite.data} />}
    </div>
  );
}
