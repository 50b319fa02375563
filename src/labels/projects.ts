import { checkName } from "./names.ts";
import type { Project } from "./records.ts";
import type { LabelStore } from "./store.ts";

/** Changes a project's name. @throws InputError for a name that cannot be read */
export async function renameProject(
  store: LabelStore,
  actor: string,
  id: string,
  name: string,
): Promise<Project> {
  checkName(name);
  await store.write((tx) => store.record(tx, actor, { type: "project renamed", id, name }));
  return store.project(id);
}

/** Archives a project, or opens it again. Nothing of it is lost; answers that labelers are about to send still count. */
export async function setArchived(
  store: LabelStore,
  actor: string,
  id: string,
  archived: boolean,
): Promise<Project> {
  await store.write(async (tx) => {
    if ((await store.project(id, tx)).archived === archived) return;
    await store.record(tx, actor, { type: archived ? "project archived" : "project reopened", id });
  });
  return store.project(id);
}
