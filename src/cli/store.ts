import { findProject } from "../labels/export.ts";
import type { Project } from "../labels/records.ts";
import { LabelStore } from "../labels/store.ts";

/**
 * Opens a label store for as long as `body` runs; one that is not there only where `isNew`.
 * @param body is given the store, and what finds a project in it by name or id (the only one, where none is named)
 */
export async function withStore<T>(
  where: string,
  body: (store: LabelStore, find: (name: string | undefined) => Promise<Project>) => Promise<T>,
  isNew = false,
): Promise<T> {
  const store = await (isNew ? LabelStore.open(where) : LabelStore.openExisting(where));
  try {
    return await body(store, (name) => findProject(store, name));
  } finally {
    await store.close();
  }
}
