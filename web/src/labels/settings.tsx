import { useQueryClient } from "@tanstack/react-query";
import { useLocation } from "wouter";
import { call, type Settings } from "../ui/api.ts";
import { Page, ProjectNav } from "../ui/page.tsx";
import { ExportLinks } from "./export-links.tsx";
import { GuidelinesForm } from "./guidelines-form.tsx";
import { ImportForm } from "./import-form.tsx";
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

/** @param me id of the signed-in user */
export function ProjectSettings({ id, me }: { id: string; me: string }) {
  const client = useQueryClient();
  const project = useProject(id);
  const refresh = () => client.invalidateQueries({ queryKey: ["project", id] });
  const save = async (settings: Settings) => {
    await call("PATCH /api/projects/:project", { params: { project: id }, body: { settings } });
    await refresh();
  };
  if (!project.data) return <Page title="Project" error={project.error} />;
  const { name, role, settings, tasks, complete } = project.data;
  return (
    <Page title={name}>
      <ProjectNav id={id} here="/settings" />
      <p className="facts">
        {complete} of {tasks} tasks have all their judgements.
      </p>
      {role === "owner" && (
        <>
          <h2>Tasks</h2>
          <ImportForm id={id} onDone={refresh} />
          <h2>People</h2>
          <InviteForm id={id} />
          <Invitations id={id} />
          <Members id={id} me={me} />
          <h2>Guidelines</h2>
          <GuidelinesForm id={id} />
          <h2>Settings</h2>
          <SettingsForm settings={settings} storageKey={id} onSave={save} />
        </>
      )}
      <h2>Export</h2>
      <ExportLinks id={id} />
    </Page>
  );
}
