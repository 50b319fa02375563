import { useQueryClient } from "@tanstack/react-query";
import { useLocation } from "wouter";
import { call, type Settings } from "../ui/api.ts";
import { Page, ProjectNav } from "../ui/page.tsx";
import { Export } from "./export-links.tsx";
import { GuidelinesForm } from "./guidelines-form.tsx";
import { Import } from "./import-form.tsx";
import { Invite } from "./invite-form.tsx";
import { useProject } from "./queries.ts";
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
      <SettingsForm keptAs="new" onSave={make} />
    </Page>
  );
}

export function ProjectSettings({ id, isOwner }: { id: string; isOwner: boolean }) {
  const client = useQueryClient();
  const project = useProject(id);
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
