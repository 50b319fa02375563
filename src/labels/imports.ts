import type { Transaction } from "kysely";
import { type LabelStore, RequestError } from "./store.ts";
import type { Schema } from "./tables.ts";

// What owners can undo: an import, or a single task. It is withdrawn, and can be restored: nothing is deleted.

/** An imported file, and what came of it. */
export interface ImportedFile {
  id: string;
  /** The file's name. */
  source: string;
  at: number;
  withdrawn: boolean;
  /** Tasks that it added. */
  tasks: number;
  /** Judgements that it brought. */
  judgements: number;
  /** Judgements that people have made of its tasks in the web app. */
  judged: number;
}

/** Lists the files that were imported into a project, the newest first. Those from before version 4 are not known. */
export async function listImports(store: LabelStore, project: string): Promise<ImportedFile[]> {
  const imports = await store.db
    .selectFrom("import")
    .select(["id", "source", "at", "withdrawn"])
    .where("project", "=", project)
    .orderBy("at", "desc")
    .orderBy("id")
    .execute();
  const tasks = await store.db
    .selectFrom("task")
    .select(({ fn }) => ["import", fn.countAll<number>().as("count")])
    .where("project", "=", project)
    .groupBy("import")
    .execute();
  const judgements = await store.db
    .selectFrom("judgement")
    .select(({ fn }) => ["import", fn.countAll<number>().as("count")])
    .where("project", "=", project)
    .groupBy("import")
    .execute();
  const judged = await store.db
    .selectFrom("judgement")
    .innerJoin("task", "task.id", "judgement.task")
    .select(({ fn }) => ["task.import", fn.countAll<number>().as("count")])
    .where("judgement.project", "=", project)
    .where("judgement.source", "is", null)
    .groupBy("task.import")
    .execute();
  const countIn = (rows: readonly { import: string | null; count: number }[], id: string): number =>
    Number(rows.find((row) => row.import === id)?.count ?? 0);
  return imports.map(({ withdrawn, ...row }) => ({
    ...row,
    withdrawn: withdrawn === 1,
    tasks: countIn(tasks, row.id),
    judgements: countIn(judgements, row.id),
    judged: countIn(judged, row.id),
  }));
}

/**
 * Withdraws what an import added, tasks and judgements, or restores it.
 * @throws RequestError (404) if the project has no such import
 */
export async function setImportWithdrawn(
  store: LabelStore,
  actor: string,
  project: string,
  id: string,
  withdrawn: boolean,
): Promise<void> {
  await store.write(async (tx) => {
    if ((await isWithdrawn(tx, "import", project, id)) === withdrawn) return;
    const type = withdrawn ? "import withdrawn" : "import restored";
    await store.record(tx, actor, { type, project, id });
  });
}

/** Withdraws a task, or restores it. @throws RequestError (404) if the project has no such task */
export async function setTaskWithdrawn(
  store: LabelStore,
  actor: string,
  project: string,
  task: string,
  withdrawn: boolean,
): Promise<void> {
  await store.write(async (tx) => {
    if ((await isWithdrawn(tx, "task", project, task)) === withdrawn) return;
    const type = withdrawn ? "task withdrawn" : "task restored";
    await store.record(tx, actor, { type, project, task });
  });
}

/** Whether an import or a task of a project is withdrawn. @throws RequestError (404) if the project has no such one */
async function isWithdrawn(
  tx: Transaction<Schema>,
  table: "import" | "task",
  project: string,
  id: string,
): Promise<boolean> {
  const row = await tx
    .selectFrom(table)
    .select("withdrawn")
    .where("id", "=", id)
    .where("project", "=", project)
    .executeTakeFirst();
  if (!row) throw new RequestError(404, `there is no such ${table} in this project`);
  return row.withdrawn === 1;
}
