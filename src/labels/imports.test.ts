import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readDrafts } from "../data/readers.ts";
import { parseRows } from "../data/tables.ts";
import { collect, exportRows, findProject } from "./export.ts";
import { importTasks, type PreferenceUse } from "./import.ts";
import { listImports, setImportWithdrawn, setTaskWithdrawn } from "./imports.ts";
import { nextTask, projectProgress, submitJudgement } from "./labeling.ts";
import { previewImport } from "./preview.ts";
import { renameProject, setArchived } from "./projects.ts";
import type { Project, User } from "./records.ts";
import { LabelStore } from "./store.ts";
import { verify } from "./verify.ts";

let store: LabelStore;
let owner: User;
let ada: User;
let project: Project;
beforeEach(async () => {
  store = await LabelStore.open(":memory:");
  owner = await store.addUser(null, { name: "Olive", role: "owner" });
  ada = await store.addUser(null, { name: "Ada", role: "labeler" });
  const settings = { kind: "pairwise", goldRate: 0, repeatRate: 0, overlap: 1 } as const;
  project = await store.addProject(owner.id, { name: "pairs", settings });
});
afterEach(async () => {
  expect((await verify(store)).problems).toEqual([]);
  await store.close();
});

const pairs = (names: string, labeler?: string): string =>
  [...names]
    .map((name) =>
      JSON.stringify({
        prompt: name,
        chosen: `${name} good`,
        rejected: `${name} bad`,
        ...(labeler && { labeler }),
      }),
    )
    .join("\n");

async function add(name: string, text: string, use?: PreferenceUse) {
  const rows = await parseRows(name, Buffer.from(text));
  return importTasks(store, owner.id, project, readDrafts(name, rows), use);
}

/** Everything that follows from the project's tasks and judgements. */
const state = async () => ({
  progress: await projectProgress(store, project.id, ada.id),
  exported: await collect(exportRows(store, project, "rankings")),
  tasks: await store.db.selectFrom("task").select(["id", "done", "complete"]).orderBy("place").execute(),
});

const judge = async () => {
  const assignment = await nextTask(store, project, ada);
  if (!assignment) return undefined;
  await submitJudgement(store, assignment.lease, ada.id, { preference: 1 }, 1);
  return assignment.messages[0]?.content;
};

describe("an import that is withdrawn", () => {
  const importOf = async (source: string) => {
    const file = (await listImports(store, project.id)).find(
      (file) => file.source === source && !file.withdrawn,
    );
    return file?.id as string;
  };

  it("takes its tasks from labelers and exports, and gives all back when it is restored", async () => {
    await add("right.jsonl", pairs("ab"));
    await add("wrong.jsonl", pairs("cde"));
    for (let i = 0; i < 5; i++) await judge();
    const before = await state();
    expect(before.progress).toEqual({ tasks: 5, complete: 5, mine: 5 });
    expect(before.exported).toHaveLength(5);
    expect(await listImports(store, project.id)).toMatchObject([
      { source: "wrong.jsonl", tasks: 3, judgements: 0, judged: 3, withdrawn: false },
      { source: "right.jsonl", tasks: 2, judgements: 0, judged: 2, withdrawn: false },
    ]);

    const id = await importOf("wrong.jsonl");
    await setImportWithdrawn(store, owner.id, project.id, id, true);
    const { progress, exported } = await state();
    expect(progress).toEqual({ tasks: 2, complete: 2, mine: 5 });
    expect(exported.map(({ prompt }) => (prompt as { content: string }[])[0]?.content).sort()).toEqual([
      "a",
      "b",
    ]);
    await setImportWithdrawn(store, owner.id, project.id, id, false);
    expect(await state()).toEqual(before);
  });

  it("takes its judgements from tasks of other files too", async () => {
    await add("tasks.jsonl", pairs("ab"));
    await add("judged.jsonl", pairs("ab", "Bo"), "judgements");
    const before = await state();
    expect(before.tasks.map(({ done, complete }) => [done, complete])).toEqual([
      [1, 1],
      [1, 1],
    ]);
    const id = await importOf("judged.jsonl");
    await setImportWithdrawn(store, owner.id, project.id, id, true);
    const { tasks, exported } = await state();
    expect(tasks.map(({ done, complete }) => [done, complete])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(exported).toEqual([]);
    expect(await judge()).toBeDefined();
    await setImportWithdrawn(store, owner.id, project.id, id, false);
    expect((await state()).tasks.map(({ done }) => done).sort()).toEqual([1, 2]);
  });

  it("can be imported again, with its preferences used otherwise", async () => {
    await add("a.jsonl", pairs("abc"));
    expect(await add("a.jsonl", pairs("abc"))).toMatchObject({
      kept: 0,
      dropped: { "in the project already": 3 },
    });
    await setImportWithdrawn(store, owner.id, project.id, await importOf("a.jsonl"), true);
    expect(await add("a.jsonl", pairs("abc"), "gold")).toMatchObject({ kept: 3, dropped: {} });
  });

  it("is of its project only", async () => {
    await add("a.jsonl", pairs("a"));
    const other = await store.addProject(owner.id, { name: "other", settings: project.settings });
    const id = await importOf("a.jsonl");
    await expect(setImportWithdrawn(store, owner.id, other.id, id, true)).rejects.toThrow("no such import");
  });
});

describe("a task that is withdrawn", () => {
  it("is given to nobody; who has it may still answer, which counts once it is restored", async () => {
    await add("a.jsonl", pairs("ab"));
    const held = await nextTask(store, project, ada);
    await setTaskWithdrawn(store, owner.id, project.id, held?.task as string, true);
    const next = await nextTask(store, project, ada);
    expect(next?.task).not.toBe(held?.task);
    await submitJudgement(store, held?.lease as string, ada.id, { preference: 1 }, 1);
    expect((await state()).progress).toEqual({ tasks: 1, complete: 0, mine: 1 });
    await setTaskWithdrawn(store, owner.id, project.id, held?.task as string, false);
    expect((await state()).progress).toEqual({ tasks: 2, complete: 1, mine: 1 });
  });
});

describe("a project", () => {
  it("that is archived gives no tasks and takes none, until it is reopened", async () => {
    await add("a.jsonl", pairs("ab"));
    const held = await nextTask(store, project, ada);
    project = await setArchived(store, owner.id, project.id, true);
    await expect(nextTask(store, project, ada)).rejects.toThrow("archived");
    await expect(add("b.jsonl", pairs("c"))).rejects.toThrow(/"pairs" is archived: reopen it/);
    await submitJudgement(store, held?.lease as string, ada.id, { preference: 1 }, 1);
    expect((await state()).exported).toHaveLength(1);
    // The only project that is not archived needs no name.
    const other = await store.addProject(owner.id, { name: "other", settings: project.settings });
    expect(findProject(await store.projects(), undefined).id).toBe(other.id);
    expect(findProject(await store.projects(), "pairs").id).toBe(project.id);
    project = await setArchived(store, owner.id, project.id, false);
    expect(await judge()).toBeDefined();
  });

  it("can be renamed, not to nothing", async () => {
    expect(await renameProject(store, owner.id, project.id, "Pairs of answers")).toMatchObject({
      id: project.id,
      name: "Pairs of answers",
    });
    await expect(renameProject(store, owner.id, project.id, "\u200b")).rejects.toThrow(/^name: /);
  });
});

describe("the preview of an import", () => {
  const preview = (
    name: string,
    text: string,
    more: { columns?: Record<string, string>; use?: PreferenceUse } = {},
  ) => previewImport(store, project, { name, bytes: Buffer.from(text), ...more });
  const table = `prompt,response 1,response 2,label,colour\n${["a", "b", "c", "d"].map((p) => `${p},yes,no,2,red`).join("\n")}\n`;

  it("guesses columns, counts, names unused columns, shows three tasks, and stores nothing", async () => {
    const before = (await verify(store)).events;
    const result = await preview("a.csv", table);
    expect(result).toMatchObject({
      mapping: { prompt: "prompt", response_1: "response 1", response_2: "response 2", preferred: "label" },
      unused: ["colour"],
      preferences: 4,
      report: { rows: 4, kept: 4, judgements: 0, dropped: {} },
      columns: [
        { name: "prompt", example: "a" },
        { name: "response 1", example: "yes" },
        { name: "response 2", example: "no" },
        { name: "label", example: "2" },
        { name: "colour", example: "red" },
      ],
    });
    expect(result).toHaveProperty("samples.length", 3);
    expect(result).toHaveProperty("samples.0", {
      messages: [{ role: "user", content: "a" }],
      completions: ["yes", "no"],
      judgements: [],
    });
    expect((await verify(store)).events).toBe(before);
  });

  it("says what its preferences become", async () => {
    expect(await preview("a.csv", table, { use: "gold" })).toHaveProperty("samples.0.known", {
      preference: 8,
    });
    const judged = await preview("a.csv", table, { use: "judgements" });
    expect(judged).toMatchObject({ report: { kept: 4, judgements: 4 } });
    expect(judged).toHaveProperty("samples.0.judgements", [{ labeler: "a.csv", answer: { preference: 5 } }]);
  });

  it("says what is wrong, and of which columns something could be made", async () => {
    expect(await preview("a.csv", "x,y\n1,2\n")).toEqual({
      columns: [
        { name: "x", example: "1" },
        { name: "y", example: "2" },
      ],
      mapping: {},
      problem: expect.stringContaining("say what the columns hold"),
    });
    const columns = { prompt: "x", response_1: "y", response_2: "nothing" };
    expect(await preview("a.csv", "x,y\n1,2\n", { columns })).toMatchObject({
      mapping: columns,
      problem: expect.stringContaining('no column "nothing"'),
    });
    await add("a.jsonl", pairs("ab"));
    expect(await preview("a.jsonl", pairs("abc"))).toMatchObject({
      mapping: {},
      report: { kept: 1, dropped: { "in the project already": 2 } },
    });
  });

  it("is of exactly what the import then adds", async () => {
    const { report } = (await preview("a.csv", table)) as { report: object };
    const rows = await parseRows("a.csv", Buffer.from(table), {
      prompt: "prompt",
      response_1: "response 1",
      response_2: "response 2",
      preferred: "label",
    });
    expect(await importTasks(store, owner.id, project, readDrafts("a.csv", rows))).toEqual(report);
  });
});
