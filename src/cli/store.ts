import { findProject } from "../labels/export.ts";
import type { Project } from "../labels/records.ts";
import { LabelStore } from "../labels/store.ts";

/**
 * Opens a label store, runs `body`, and closes the store.
 * @param body takes the store, and a function that finds a project by name or id; without a name it finds the only one
 * @param isNew whether a missing store is created
 */
export async function withStore<T>(
  where: string,
  body: (store: LabelStore, find: (name: string | undefined) => Promise<Project>) => Promise<T>,
  isNew = false,
): Promise<T> {
  const store = await (isNew ? LabelStore.open(where) : LabelStore.openExisting(where));
  try {
    return await body(store, async (name) => findProject(await store.projects(), name));
  } finally {
    await store.close();
  }
}
