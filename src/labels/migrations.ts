import { type Kysely, type Migration, sql } from "kysely";
import { projectionKeys } from "./tables.ts";

/** Column types by name; `?` is nullable. See `postgresTypes` for Postgres. */
type Columns = Record<string, "text" | "integer" | "real" | "text?" | "real?" | "integer?">;

const firstTables: Record<string, { columns: Columns; key: readonly string[] }> = {
  user: {
    columns: {
      id: "text",
      name: "text",
      role: "text",
      skills: "text",
      cohort: "text",
      active: "integer",
      since: "integer",
    },
    key: projectionKeys.user,
  },
  project: {
    columns: { id: "text", name: "text", settings: "text", guidelines: "integer", at: "integer" },
    key: projectionKeys.project,
  },
  member: { columns: { project: "text", user: "text" }, key: projectionKeys.member },
  guidelines: {
    columns: { project: "text", version: "integer", text: "text", questions: "text", at: "integer" },
    key: projectionKeys.guidelines,
  },
  qualification: {
    columns: {
      project: "text",
      user: "text",
      version: "integer",
      correct: "integer",
      total: "integer",
      passed: "integer",
      at: "integer",
    },
    key: projectionKeys.qualification,
  },
  prompt: {
    columns: { id: "text", project: "text", messages: "text", skill: "text?", source: "text?" },
    key: projectionKeys.prompt,
  },
  completion: {
    columns: {
      id: "text",
      prompt: "text",
      place: "integer",
      text: "text",
      model: "text?",
      run: "text?",
      temperature: "real?",
      seed: "integer?",
    },
    key: projectionKeys.completion,
  },
  task: {
    columns: {
      id: "text",
      project: "text",
      prompt: "text",
      place: "integer",
      skill: "text?",
      gold: "text?",
      wanted: "integer",
      done: "integer",
      complete: "integer",
    },
    key: projectionKeys.task,
  },
  judgement: {
    columns: {
      id: "text",
      project: "text",
      task: "text",
      labeler: "text",
      version: "integer",
      answer: "text",
      order: "text",
      seed: "integer",
      seconds: "real",
      at: "integer",
      repeat: "integer",
      revises: "text?",
      current: "integer",
    },
    key: projectionKeys.judgement,
  },
  adjudication: {
    columns: { task: "text", project: "text", user: "text", answer: "text", at: "integer" },
    key: projectionKeys.adjudication,
  },
  credential: { columns: { user: "text", hash: "text" }, key: ["user"] },
  session: { columns: { hash: "text", user: "text", expires: "integer" }, key: ["hash"] },
  invitation: {
    columns: { hash: "text", role: "text", project: "text?", expires: "integer", by: "text?" },
    key: ["hash"],
  },
  lease: {
    columns: {
      id: "text",
      project: "text",
      task: "text",
      labeler: "text",
      order: "text",
      seed: "integer",
      repeat: "integer",
      draft: "text?",
      at: "integer",
      expires: "integer",
    },
    key: ["id"],
  },
};

/** Postgres's `integer` is too narrow for milliseconds, and its `real` for a double. */
const postgresTypes: Record<string, string> = { text: "text", integer: "bigint", real: "double precision" };

async function createTable(db: Kysely<unknown>, name: string): Promise<void> {
  const { columns, key } = firstTables[name] as (typeof firstTables)[string];
  let table = db.schema.createTable(name).addPrimaryKeyConstraint(`${name}_key`, key as never);
  for (const [column, kind] of Object.entries(columns)) {
    const type = sql.raw(postgresTypes[kind.replace("?", "")] as string);
    table = table.addColumn(column, type, (builder) => (kind.endsWith("?") ? builder : builder.notNull()));
  }
  await table.execute();
}

const first: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable("event")
      .addColumn("seq", "bigint", (column) => column.primaryKey())
      .addColumn("at", "bigint", (column) => column.notNull())
      .addColumn("actor", "text")
      .addColumn("type", "text", (column) => column.notNull())
      .addColumn("data", "text", (column) => column.notNull())
      .addColumn("hash", "text", (column) => column.notNull())
      .execute();
    for (const name of Object.keys(firstTables)) await createTable(db, name);
    await db.schema.createTable("lock").addColumn("id", "integer").execute();
    const index = (table: string, ...columns: string[]) =>
      db.schema
        .createIndex(`${table}_by_${columns.join("_")}`)
        .on(table)
        .columns(columns)
        .execute();
    await db.schema.createIndex("user_name").on("user").column("name").unique().execute();
    await index("completion", "prompt", "place");
    await index("prompt", "project");
    await index("task", "project", "complete", "place");
    await index("judgement", "task", "labeler");
    await index("judgement", "project", "labeler", "at");
    // A labeler has at most one lease of a task.
    await db.schema.createIndex("lease_once").on("lease").columns(["task", "labeler"]).unique().execute();
    await index("lease", "project", "labeler");
  },
};

const imported: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema.alterTable("judgement").addColumn("source", "text").execute();
  },
};

const resets: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable("reset")
      .addColumn("hash", "text", (column) => column.primaryKey())
      .addColumn("user", "text", (column) => column.notNull())
      .addColumn("expires", "bigint", (column) => column.notNull())
      .execute();
  },
};

const versions: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .alterTable("event")
      .addColumn("version", "integer", (column) => column.notNull().defaultTo(1))
      .execute();
  },
};

const memberRoles: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema.alterTable("member").addColumn("role", "text").execute();
  },
};

const imports: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable("import")
      .addColumn("id", "text", (column) => column.primaryKey())
      .addColumn("project", "text", (column) => column.notNull())
      .addColumn("source", "text", (column) => column.notNull())
      .addColumn("at", "bigint", (column) => column.notNull())
      .addColumn("withdrawn", "bigint", (column) => column.notNull())
      .execute();
    for (const [table, column] of [
      ["project", "archived"],
      ["task", "withdrawn"],
    ] as const)
      await db.schema
        .alterTable(table)
        .addColumn(column, "bigint", (definition) => definition.notNull().defaultTo(0))
        .execute();
    for (const table of ["task", "judgement"])
      await db.schema.alterTable(table).addColumn("import", "text").execute();
  },
};

const tokens: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable("token")
      .addColumn("id", "text", (column) => column.primaryKey())
      .addColumn("hash", "text", (column) => column.notNull().unique())
      .addColumn("user", "text", (column) => column.notNull())
      .addColumn("name", "text", (column) => column.notNull())
      .addColumn("scopes", "text", (column) => column.notNull())
      .addColumn("project", "text")
      .addColumn("created", "bigint", (column) => column.notNull())
      .addColumn("lastUsed", "bigint")
      .addColumn("expires", "bigint", (column) => column.notNull())
      .execute();
  },
};

const attempts: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema
      .createTable("failedAttempt")
      .addColumn("project", "text", (column) => column.notNull())
      .addColumn("user", "text", (column) => column.notNull())
      .addColumn("version", "bigint", (column) => column.notNull())
      .addColumn("at", "bigint", (column) => column.notNull())
      .execute();
  },
};

/** For the skills that a project's tasks need. */
const skills: Migration = {
  async up(db: Kysely<unknown>) {
    await db.schema.createIndex("task_by_project_skill").on("task").columns(["project", "skill"]).execute();
  },
};

/** Applied in the order of their names. Released migrations are never changed. */
export const migrations: Record<string, Migration> = {
  "001_first": first,
  "002_imported": imported,
  "003_resets": resets,
  "004_versions": versions,
  "005_member_roles": memberRoles,
  "006_imports": imports,
  "007_tokens": tokens,
  "008_attempts": attempts,
  "009_skills": skills,
};
