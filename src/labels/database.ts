import { closeSync, existsSync, mkdirSync, openSync } from "node:fs";
import { dirname } from "node:path";
import { Kysely, Migrator, PostgresDialect, SqliteDialect, sql, type Transaction } from "kysely";
import Sqlite from "libsql";
import pg from "pg";
import { InputError } from "../data/errors.ts";
import { migrations } from "./migrations.ts";
import { logVersion, type Schema } from "./tables.ts";

export interface Database {
  db: Kysely<Schema>;
  /** Makes every other writing transaction, in this process or another, wait until this one ends. */
  lock(tx: Transaction<Schema>): Promise<unknown>;
}

/** Hides the account and password of a Postgres connection string, for messages. */
export const withoutPassword = (location: string): string => location.replace(/\/\/[^@/]*@/, "//…@");

/** Whether a location is a Postgres connection string. */
export const isPostgres = (location: string): boolean => /^postgres(ql)?:\/\//.test(location);

/**
 * Opens the database of a label store and migrates its tables to the newest schema.
 * @param location path of an SQLite file, `:memory:`, or a Postgres connection string
 * @throws InputError if it cannot be opened, or was written by a later version of plumbline
 */
export async function openDatabase(location: string): Promise<Database> {
  if (/^https?:\/\//i.test(location))
    throw new InputError(
      `${location}: this needs the database itself, an SQLite file or a Postgres address; ` +
        "only `labels import` and `labels export` work through a label app",
    );
  try {
    const isShared = isPostgres(location);
    const db = new Kysely<Schema>({ dialect: isShared ? postgres(location) : sqlite(location) });
    try {
      await migrate(db);
      checkLogVersion(await lastEvent(db));
    } catch (error) {
      await db.destroy();
      throw error;
    }
    // An SQLite transaction that begins with a read may fail to get the write lock later, so it begins with an empty write.
    const lock = isShared ? sql`lock table "lock" in exclusive mode` : sql`delete from "lock"`;
    return { db, lock: (tx) => lock.execute(tx) };
  } catch (error) {
    const shownLocation = withoutPassword(location);
    throw new InputError(`${shownLocation}: the label store cannot be opened: ${(error as Error).message}`);
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

/** Selects the newest event of the log. */
export const lastEvent = (db: Kysely<Schema>) =>
  db
    .selectFrom("event")
    .select(["seq", "hash", "version"])
    .orderBy("seq", "desc")
    .limit(1)
    .executeTakeFirst();

/** @throws InputError if a later version of plumbline has written to the log */
export function checkLogVersion(last: { version: number } | undefined): void {
  if (last && last.version > logVersion)
    throw new InputError(
      `its log is of version ${last.version}, and this plumbline reads those up to ${logVersion}: update plumbline`,
    );
}

function sqlite(path: string): SqliteDialect {
  if (path !== ":memory:") {
    mkdirSync(dirname(path), { recursive: true });
    // Texts and password hashes are in it: a new one is for its owner alone. One that exists is not opened here: closing
    // it would drop the locks that other connections of this process hold on it, and SQLite would lose their changes.
    if (!existsSync(path)) closeSync(openSync(path, "a", 0o600));
  }
  const database = new Sqlite(path);
  database.pragma("journal_mode = WAL");
  // Sync at each commit: an acknowledged judgement survives a crash of the process or the machine.
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
  // Without a listener, an idle connection that the server closes would end this process. The pool opens another one.
  pool.on("error", ({ message }) => console.error(`Postgres: ${message}`));
  return new PostgresDialect({ pool });
}
