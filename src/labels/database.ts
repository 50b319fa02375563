import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import {
  type Generated,
  Kysely,
  type Migration,
  Migrator,
  PostgresDialect,
  SqliteDialect,
  sql,
  type Transaction,
} from "kysely";
import Sqlite from "libsql";
import pg from "pg";
import { InputError } from "../data/errors.ts";

// What is JSON is stored as text: Postgres takes no NUL in text and no lone surrogate in JSON, and JSON writes both as
// escapes. Times are milliseconds since 1970, booleans 0 and 1, so that both databases hold the same values.

/** The log, from which every other table of `Projected` follows. */
interface EventTable {
  seq: number;
  at: number;
  actor: string | null;
  type: string;
  data: string;
  /** SHA-256 of the event before's hash and this event. */
  hash: string;
  /** Of the event's schema: see `upcast`. */
  version: number;
}

/** Version of the events that this program records, and the newest that it reads. */
export const logVersion = 2;

interface Projected {
  user: {
    id: string;
    name: string;
    role: string;
    skills: string;
    cohort: string;
    active: number;
    since: number;
  };
  project: { id: string; name: string; settings: string; guidelines: number; at: number };
  member: { project: string; user: string };
  guidelines: { project: string; version: number; text: string; questions: string; at: number };
  qualification: {
    project: string;
    user: string;
    version: number;
    correct: number;
    total: number;
    passed: number;
    at: number;
  };
  prompt: { id: string; project: string; messages: string; skill: string | null; source: string | null };
  completion: {
    id: string;
    prompt: string;
    place: number;
    text: string;
    model: string | null;
    run: string | null;
    temperature: number | null;
    seed: number | null;
  };
  task: {
    id: string;
    project: string;
    prompt: string;
    place: number;
    skill: string | null;
    /** The known answer, as JSON. */
    gold: string | null;
    /** Judgements it is to have, and has. */
    wanted: number;
    done: number;
    /** 1 when it has them. Gold is never complete. */
    complete: number;
  };
  judgement: {
    id: string;
    project: string;
    task: string;
    labeler: string;
    /** Of the guidelines that the labeler had read. */
    version: number;
    answer: string;
    /** Which stored completion each place showed, and the seed of that order. */
    order: string;
    seed: number;
    seconds: number;
    at: number;
    /** 1 when the labeler had judged the task before, and did so again unasked for. */
    repeat: number;
    /** The judgement that this one takes the place of. */
    revises: string | null;
    /** 0 when another took its place. */
    current: number;
    /** The file that it came from; null when it was made here. */
    source: string | null;
  };
  adjudication: { task: string; project: string; user: string; answer: string; at: number };
}

/** What passes: nobody's answers depend on it later, and it holds the secrets, so it is not in the log. */
interface Operational {
  credential: { user: string; hash: string };
  session: { hash: string; user: string; expires: number };
  invitation: { hash: string; role: string; project: string | null; expires: number; by: string | null };
  /** Links by which somebody chooses a new password. */
  reset: { hash: string; user: string; expires: number };
  lease: {
    id: string;
    project: string;
    task: string;
    labeler: string;
    order: string;
    seed: number;
    repeat: number;
    draft: string | null;
    at: number;
    expires: number;
  };
}

export interface Schema extends Projected, Operational {
  event: Omit<EventTable, "seq"> & { seq: Generated<number> };
}

export interface Database {
  db: Kysely<Schema>;
  /** Makes every other writing transaction, of this process or another, wait until this one ends. */
  lock(tx: Transaction<Schema>): Promise<unknown>;
}

/** Tables that follow from the log, each with what its rows are told apart by. */
export const projected = {
  user: ["id"],
  project: ["id"],
  member: ["project", "user"],
  guidelines: ["project", "version"],
  qualification: ["project", "user", "version"],
  prompt: ["id"],
  completion: ["id"],
  task: ["id"],
  judgement: ["id"],
  adjudication: ["task"],
} as const satisfies { [Table in keyof Projected]: readonly (keyof Projected[Table])[] };

const first: Migration = {
  async up(db: Kysely<unknown>) {
    const make = (
      table: string,
      columns: Record<string, "text" | "integer" | "real" | "text?" | "real?" | "integer?">,
    ) =>
      Object.entries(columns).reduce((made, [name, kind]) => {
        const type = kind.replace("?", "");
        // In Postgres an integer is too narrow for milliseconds, and a real for a double.
        const wide = type === "integer" ? "bigint" : type === "real" ? "double precision" : "text";
        return made.addColumn(name, sql.raw(wide), (column) =>
          kind.endsWith("?") ? column : column.notNull(),
        );
      }, db.schema.createTable(table));
    const key = (table: string, columns: readonly string[]) => [`${table}_key`, columns as never] as const;
    const add = async (table: string, columns: Parameters<typeof make>[1], primary: readonly string[]) =>
      make(table, columns)
        .addPrimaryKeyConstraint(...key(table, primary))
        .execute();
    await db.schema
      .createTable("event")
      .addColumn("seq", "bigint", (column) => column.primaryKey())
      .addColumn("at", "bigint", (column) => column.notNull())
      .addColumn("actor", "text")
      .addColumn("type", "text", (column) => column.notNull())
      .addColumn("data", "text", (column) => column.notNull())
      .addColumn("hash", "text", (column) => column.notNull())
      .execute();
    await add(
      "user",
      {
        id: "text",
        name: "text",
        role: "text",
        skills: "text",
        cohort: "text",
        active: "integer",
        since: "integer",
      },
      projected.user,
    );
    await add(
      "project",
      { id: "text", name: "text", settings: "text", guidelines: "integer", at: "integer" },
      projected.project,
    );
    await add("member", { project: "text", user: "text" }, projected.member);
    await add(
      "guidelines",
      { project: "text", version: "integer", text: "text", questions: "text", at: "integer" },
      projected.guidelines,
    );
    await add(
      "qualification",
      {
        project: "text",
        user: "text",
        version: "integer",
        correct: "integer",
        total: "integer",
        passed: "integer",
        at: "integer",
      },
      projected.qualification,
    );
    await add(
      "prompt",
      { id: "text", project: "text", messages: "text", skill: "text?", source: "text?" },
      projected.prompt,
    );
    await add(
      "completion",
      {
        id: "text",
        prompt: "text",
        place: "integer",
        text: "text",
        model: "text?",
        run: "text?",
        temperature: "real?",
        seed: "integer?",
      },
      projected.completion,
    );
    await add(
      "task",
      {
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
      projected.task,
    );
    await add(
      "judgement",
      {
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
      projected.judgement,
    );
    await add(
      "adjudication",
      { task: "text", project: "text", user: "text", answer: "text", at: "integer" },
      projected.adjudication,
    );
    await add("credential", { user: "text", hash: "text" }, ["user"]);
    await add("session", { hash: "text", user: "text", expires: "integer" }, ["hash"]);
    await add(
      "invitation",
      { hash: "text", role: "text", project: "text?", expires: "integer", by: "text?" },
      ["hash"],
    );
    await add(
      "lease",
      {
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
      ["id"],
    );
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
    // A task is with a labeler once.
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

const migrations: Record<string, Migration> = {
  "001_first": first,
  "002_imported": imported,
  "003_resets": resets,
  "004_versions": versions,
};

const isPostgres = (where: string): boolean => /^postgres(ql)?:\/\//.test(where);

/**
 * Opens the store's database, and brings its tables up to date.
 * @param where path of an SQLite file, `:memory:`, or a Postgres connection string
 * @throws InputError when it cannot be opened, or was made by a later version
 */
export async function openDatabase(where: string): Promise<Database> {
  try {
    const shared = isPostgres(where);
    const db = new Kysely<Schema>({ dialect: shared ? postgres(where) : sqlite(where) });
    try {
      await migrate(db);
      refuseNewerLog(await lastEvent(db));
    } catch (error) {
      await db.destroy();
      throw error;
    }
    // In SQLite a transaction that has read cannot always become one that writes: this one begins by writing nothing.
    const lock = shared ? sql`lock table "lock" in exclusive mode` : sql`delete from "lock"`;
    return { db, lock: (tx) => lock.execute(tx) };
  } catch (error) {
    const shown = isPostgres(where) ? where.replace(/\/\/[^@/]*@/, "//…@") : where;
    throw new InputError(`${shown}: the label store cannot be opened: ${(error as Error).message}`);
  }
}

async function migrate(db: Kysely<Schema>): Promise<void> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error } = await migrator.migrateToLatest();
  if (!error) return;
  const { rows } = await sql<{ name: string }>`select name from kysely_migration order by name desc`.execute(
    db,
  );
  const [newest] = rows;
  if (!newest || newest.name in migrations) throw error;
  throw new InputError(
    `its tables are of version ${newest.name}, and this plumbline knows those up to ${Object.keys(migrations).at(-1)}: update plumbline`,
  );
}

/** The end of the log. */
export const lastEvent = (db: Kysely<Schema>) =>
  db
    .selectFrom("event")
    .select(["seq", "hash", "version"])
    .orderBy("seq", "desc")
    .limit(1)
    .executeTakeFirst();

/** @throws InputError when a later version of plumbline has written to the log */
export function refuseNewerLog(last: { version: number } | undefined): void {
  if (last && last.version > logVersion)
    throw new InputError(
      `its log is of version ${last.version}, and this plumbline reads those up to ${logVersion}: update plumbline`,
    );
}

function sqlite(path: string): SqliteDialect {
  if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true });
  const database = new Sqlite(path);
  database.pragma("journal_mode = WAL");
  // What was acknowledged is on the disk, whatever happens to the process or the machine.
  database.pragma("synchronous = FULL");
  database.pragma("busy_timeout = 10000");
  return new SqliteDialect({ database });
}

function postgres(connectionString: string): PostgresDialect {
  const int8 = 20;
  const parsers = {
    getTypeParser: (oid: number, format?: string) =>
      oid === int8 ? Number : pg.types.getTypeParser(oid, format as "text"),
  };
  const pool = new pg.Pool({ connectionString, types: parsers as pg.CustomTypesConfig });
  // An idle connection that the server has ended is none of the program's end: another is made when one is needed.
  pool.on("error", ({ message }) => console.error(`Postgres: ${message}`));
  return new PostgresDialect({ pool });
}
