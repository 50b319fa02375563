import { InputError } from "../data/errors.ts";
import type { Comparison } from "../data/records.ts";
import { withoutPassword } from "../labels/database.ts";
import { collect, exportRows } from "../labels/export.ts";
import type { Project } from "../labels/records.ts";
import { LabelStore } from "../labels/store.ts";
import type { PeopleConfig } from "./config.ts";
import type { AnswersToPrompt } from "./labelers.ts";

// People compare answers in the label app. Their tasks wait in a label store until they have judged them.

/** Tasks that people have to judge, and what they judged. */
export interface PeopleTasks {
  /** Id of the project. */
  project: string;
  /** Tasks that have all their judgements, and how many there are in all. */
  judged: number;
  tasks: number;
  /** Comparisons so far. */
  comparisons: Comparison[];
}

/**
 * Adds tasks to the project of a loop, unless they are there already, and reads what people judged of them.
 * @param source name of the tasks, which no others in the project have
 * @param known id of the project, once it was made: its store must still be there
 * @throws InputError if the store or the project is gone, or the project is of another kind
 */
export async function askPeople(
  { store: where, project: name, judgementsPerTask }: PeopleConfig,
  source: string,
  rows: readonly AnswersToPrompt[],
  known: string | undefined,
): Promise<PeopleTasks> {
  const store = await openStore(where, known);
  try {
    const project = await findOrAddProject(store, name, judgementsPerTask, known);
    if (!(await tasksOf(store, project, source)).length && rows.length)
      await store.addTasks(
        null,
        project,
        rows.map(({ prompt, completions }) => ({
          messages: prompt,
          completions: completions.map((text) => ({ text })),
          source,
        })),
      );
    const tasks = await tasksOf(store, project, source);
    const ids = new Set<unknown>(tasks.map(({ id }) => id));
    const exported = await collect(exportRows(store, project, "rankings", { margins: true }));
    return {
      project: project.id,
      judged: tasks.filter(({ complete, withdrawn }) => complete || withdrawn).length,
      tasks: tasks.length,
      comparisons: exported.filter(({ task }) => ids.has(task)) as unknown as Comparison[],
    };
  } finally {
    await store.close();
  }
}

async function openStore(where: string, known: string | undefined): Promise<LabelStore> {
  if (known === undefined) return LabelStore.open(where);
  try {
    return await LabelStore.openExisting(where);
  } catch (error) {
    throw new InputError(
      `${withoutPassword(where)}: the label store with the tasks of this loop cannot be opened: ${(error as Error).message}. Put it back, or begin a new loop with another --run`,
    );
  }
}

async function findOrAddProject(
  store: LabelStore,
  name: string,
  overlap: number,
  known: string | undefined,
): Promise<Project> {
  const projects = await store.projects();
  const project = projects.find(({ id, name: other }) =>
    known === undefined ? other === name : id === known,
  );
  if (project && project.settings.kind !== "ranking")
    throw new InputError(
      `${withoutPassword(store.location)}: project "${name}" is a ${project.settings.kind}, and a loop asks for rankings: name another (labelers.people.project)`,
    );
  if (project) return project;
  if (known !== undefined)
    throw new InputError(
      `${withoutPassword(store.location)}: the project with the tasks of this loop (${known}) is not in this store: put the store of the loop back, or begin a new loop with another --run`,
    );
  return store.addProject(null, {
    name,
    settings: { kind: "ranking", overlap, maxOverlap: overlap, repeatRate: 0, goldRate: 0 },
  });
}

const tasksOf = (store: LabelStore, project: Project, source: string) =>
  store.db
    .selectFrom("task")
    .innerJoin("prompt", "prompt.id", "task.prompt")
    .select(["task.id", "task.complete", "task.withdrawn"])
    .where("task.project", "=", project.id)
    .where("prompt.source", "=", source)
    .execute();
