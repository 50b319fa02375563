import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { call, type Project, type Settings } from "../ui/api.ts";
import { ConfirmDialog } from "../ui/dialogs.tsx";
import { ErrorMessage, Page, ProjectNav } from "../ui/page.tsx";
import { ExportLinks } from "./export-links.tsx";
import { GuidelinesForm } from "./guidelines-form.tsx";
import { ImportForm } from "./import-form.tsx";
import { Imports } from "./imports.tsx";
import { InviteForm } from "./invite-form.tsx";
import { Invitations, Members } from "./members.tsx";
import { useProject } from "./queries.ts";
import { SettingsForm } from "./settings-form.tsx";

export function NewProject() {
  const client = useQueryClient();
  const [, navigate] = useLocation();
  const create = async (settings: Settings, name: string) => {
    const { id } = await call("POST /api/projects", { body: { name, settings } });
    await client.invalidateQueries({ queryKey: ["projects"] });
    navigate(`/projects/${id}/settings`);
  };
  return (
    <Page title="New project">
      <SettingsForm storageKey="new" onSave={create} />
    </Page>
  );
}

const tabs = [
  ["", "Tasks"],
  ["/guidelines", "Guidelines"],
  ["/people", "People"],
  ["/options", "Settings"],
  ["/export", "Export"],
] as const;

/** @param me id of the signed-in user @param tab part of the address: see `tabs` */
export function ProjectSettings({ id, me, tab = "" }: { id: string; me: string; tab?: string | undefined }) {
  const project = useProject(id);
  if (!project.data) return <Page title="Project" error={project.error} />;
  const { name, role, archived, tasks, complete } = project.data;
  const isOwner = role === "owner";
  const here = isOwner ? tab && `/${tab}` : "/export";
  return (
    <Page title={name}>
      <ProjectNav id={id} here="/settings" />
      <p className="facts">
        {complete} of {tasks} tasks have all their judgements.{archived && " This project is archived."}
      </p>
      {isOwner && (
        <>
          {tasks === 0 && <Checklist id={id} project={project.data} />}
          <nav aria-label="Set up" className="tabs">
            {tabs.map(([part, title]) => (
              <Link
                key={part}
                href={`/projects/${id}/settings${part}`}
                aria-current={part === here ? "page" : undefined}
              >
                {title}
              </Link>
            ))}
          </nav>
        </>
      )}
      <Tab id={id} me={me} here={here} project={project.data} />
    </Page>
  );
}

/** What there is to do before labelers can begin. */
function Checklist({ id, project: { guidelines, tasks } }: { id: string; project: Project }) {
  const members = useQuery({
    queryKey: ["members", id],
    queryFn: () => call("GET /api/projects/:project/members", { params: { project: id } }),
  });
  const steps: [done: boolean, part: string, text: string][] = [
    [tasks > 0, "", "Import tasks"],
    [guidelines > 0, "/guidelines", "Write guidelines (optional)"],
    [(members.data?.length ?? 0) > 0, "/people", "Invite people, or judge tasks yourself"],
  ];
  return (
    <ol aria-label="To do">
      {steps.map(([done, part, text]) => (
        <li key={part}>
          <Link href={`/projects/${id}/settings${part}`}>{text}</Link>
          {done && " ✓ done"}
        </li>
      ))}
    </ol>
  );
}

function Tab({ id, me, here, project }: { id: string; me: string; here: string; project: Project }) {
  const client = useQueryClient();
  const refresh = () => client.invalidateQueries({ queryKey: ["project", id] });
  switch (here) {
    case "":
      return (
        <>
          <h2>Import a file</h2>
          <ImportForm id={id} kind={project.settings.kind} onDone={refresh} />
          <Imports id={id} />
        </>
      );
    case "/people":
      return (
        <>
          <h2>People</h2>
          <InviteForm id={id} />
          <Invitations id={id} />
          <Members id={id} me={me} />
        </>
      );
    case "/guidelines":
      return (
        <>
          <h2>Guidelines</h2>
          <GuidelinesForm id={id} />
        </>
      );
    case "/options":
      return <Options id={id} project={project} onChange={refresh} />;
    case "/export":
      return (
        <>
          <h2>Export</h2>
          <ExportLinks id={id} />
        </>
      );
    default:
      return <p>There is no such page.</p>;
  }
}

/** Name and settings of a project, and its archiving. */
function Options({
  id,
  project: { name, archived, settings },
  onChange,
}: {
  id: string;
  project: Project;
  onChange: () => Promise<unknown>;
}) {
  const change = useMutation({
    mutationFn: (body: { name?: string; archived?: boolean; settings?: Settings }) =>
      call("PATCH /api/projects/:project", { params: { project: id }, body }),
    onSuccess: onChange,
  });
  const [isAsking, setIsAsking] = useState(false);
  return (
    <>
      <h2>Settings</h2>
      <SettingsForm
        name={name}
        settings={settings}
        storageKey={id}
        onSave={(settings, newName) =>
          change.mutateAsync({ settings, ...(newName !== name && { name: newName }) })
        }
      />
      <h2>Archive</h2>
      <p>
        An archived project gives no tasks to labelers and stands at the end of the list. Everything in it
        stays, and can be exported.
      </p>
      <ErrorMessage error={change.error} />
      <button
        type="button"
        className="quiet"
        onClick={() => (archived ? change.mutate({ archived: false }) : setIsAsking(true))}
      >
        {archived ? "Reopen the project" : "Archive the project"}
      </button>
      {isAsking && (
        <ConfirmDialog
          title={`Archive ${name}?`}
          text="Labelers get no more tasks of it. You can reopen it."
          action="Archive it"
          onConfirm={() => change.mutate({ archived: true })}
          onClose={() => setIsAsking(false)}
        />
      )}
    </>
  );
}
