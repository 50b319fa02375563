import { copyFileSync, mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Sqlite from "libsql";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { ExportFormat } from "./export-formats.ts";

// Stores of each version of the log, by the code of its time (test/fixtures/label-store.ts), and what it exported.
const fixtures = join(import.meta.dirname, "../../test/fixtures");
const versions = [1, 2, 3, 4];
const folder = mkdtempSync(join(tmpdir(), "plumbline-versions-"));

/** The store of a version, copied to a file that the test may change. */
function copyOf(version: number, name: string): string {
  const copy = join(folder, `${name}-${version}.sqlite`);
  copyFileSync(join(fixtures, `label-store-v${version}.sqlite`), copy);
  return copy;
}

/** The modules as they are now, or as `vi.doMock` has changed them. */
async function load() {
  const { LabelStore } = await import("./store.ts");
  return {
    LabelStore,
    ...(await import("./verify.ts")),
    ...(await import("./labeling.ts")),
    ...(await import("./qualification.ts")),
  };
}

async function problemsOf(path: string): Promise<string[]> {
  const { LabelStore, verify } = await load();
  const store = await LabelStore.open(path);
  const { problems } = await verify(store);
  await store.close();
  return problems;
}

beforeEach(() => {
  vi.resetModules();
  vi.doUnmock("./settings.ts");
  vi.doUnmock("./pairwise-preferences.ts");
});
afterAll(() => vi.resetModules());

describe.each(versions)("a label store of version %i", (version) => {
  it("is consistent with its log", async () => {
    expect(await problemsOf(copyOf(version, "verify"))).toEqual([]);
  });

  it("exports what it exported", async () => {
    const { LabelStore } = await load();
    const { exportRows } = await import("./export.ts");
    const store = await LabelStore.open(copyOf(version, "export"));
    const lines = readFileSync(join(fixtures, `label-store-v${version}.jsonl`), "utf8")
      .trim()
      .split("\n");
    const expected = lines.map((line): { project: string; format: ExportFormat; row: object } =>
      JSON.parse(line),
    );
    for (const project of await store.projects())
      for (const format of new Set(expected.map(({ format }) => format))) {
        const rows = expected.filter((line) => line.project === project.name && line.format === format);
        if (!rows.length) continue;
        const exported = [];
        for await (const row of exportRows(store, project, format)) exported.push(row);
        // Weights are estimated anew, by better rules.
        const withoutWeight = (row: object) => ({ ...row, weight: undefined });
        expect(exported.map(withoutWeight)).toMatchObject(rows.map(({ row }) => withoutWeight(row)));
      }
    await store.close();
  });

  it("has members with the roles that they had", async () => {
    const { LabelStore } = await load();
    const store = await LabelStore.open(copyOf(version, "members"));
    const users = await store.users();
    const roles: string[] = [];
    for (const project of await store.projects())
      for (const user of users) {
        const role = user.role === "owner" ? undefined : await store.roleIn(project.id, user);
        if (role) roles.push(`${project.name}: ${user.name} ${role}`);
      }
    // Before version 3 members have the role of their account.
    const since3 = version < 3 ? [] : ["pairs: Ada reviewer", "pairs: Béla reviewer"];
    const since4 = version < 4 ? [] : ["undone: Dora labeler"];
    expect(roles).toEqual([...since3, "revisions: a model labeler", ...since4]);
    await store.close();
  });

  it("can be continued: tasks judged, answers revised, still consistent with its log", async () => {
    const { LabelStore, hasQualified, submitJudgement, nextTask, reviseJudgement, verify } = await load();
    const store = await LabelStore.open(copyOf(version, "go-on"));
    const project = (await store.projects()).find(({ name }) => name === "pairs");
    if (!project) throw new Error("the fixture has no project of pairs");
    const judged: string[] = [];
    for (const labeler of await store.users()) {
      if (!(await hasQualified(store, project, labeler.id))) continue;
      for (let i = 0; i < 4; i++) {
        const shown = await nextTask(store, project, labeler);
        if (!shown) break;
        judged.push(await submitJudgement(store, shown.lease, labeler.id, { preference: 1 }, 1));
        if (i === 0) await reviseJudgement(store, judged.at(-1) as string, labeler.id, { preference: 7 }, 1);
      }
    }
    expect(judged.length).toBeGreaterThan(3);
    expect((await verify(store)).problems).toEqual([]);
    await store.close();
  });

  it("is consistent with its log also when a setting gets a default", async () => {
    vi.doMock("./settings.ts", async (original) => {
      const settings = await original<typeof import("./settings.ts")>();
      const target = settings.projectSettingsSchema.shape.target.default(500);
      return { ...settings, projectSettingsSchema: settings.projectSettingsSchema.safeExtend({ target }) };
    });
    expect(await problemsOf(copyOf(version, "default"))).toEqual([]);
  });

  it("is consistent with its log also when the rule of disagreement changes", async () => {
    vi.doMock("./pairwise-preferences.ts", async (original) => ({
      ...(await original<typeof import("./pairwise-preferences.ts")>()),
      answersDisagree: () => true,
    }));
    expect(await problemsOf(copyOf(version, "disagree"))).toEqual([]);
  });
});

describe("a label store of a later version of plumbline", () => {
  const change = (name: string, statement: string): string => {
    const path = copyOf(versions.at(-1) as number, name);
    const database = new Sqlite(path);
    database.exec(statement);
    database.close();
    return path;
  };
  const open = async (path: string) => (await load()).LabelStore.open(path);

  it("is refused where its tables are newer", async () => {
    const path = change(
      "schema",
      "insert into kysely_migration values ('099_feedback', '2030-01-01T00:00:00.000Z')",
    );
    await expect(open(path)).rejects.toThrow(
      /schema-\d\.sqlite: .*its tables are of version 099_feedback.*update plumbline/s,
    );
  });

  it("is refused where its log is newer", async () => {
    const path = copyOf(versions.at(-1) as number, "log");
    await (await open(path)).close();
    const database = new Sqlite(path);
    database.exec("update event set version = 9 where seq = (select max(seq) from event)");
    database.close();
    await expect(open(path)).rejects.toThrow(/log-\d\.sqlite: .*its log is of version 9.*update plumbline/s);
  });
});
