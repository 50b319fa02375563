import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname } from "node:path";
import { sql } from "kysely";
import { diskError, InputError } from "../data/errors.ts";
import { isPostgres } from "./database.ts";
import { LabelStore } from "./store.ts";
import { type Verification, verify } from "./verify.ts";

/**
 * Copies an SQLite label store to a file that does not exist. The copy is one moment's state of the store, whose newest
 * judgements are in a second file (`-wal`) while a server runs.
 * @returns what `verify` says of the copy @throws InputError for a Postgres store, a file that exists, or a damaged store
 */
export async function backUp(from: string, out: string): Promise<Verification> {
  if (isPostgres(from))
    throw new InputError(
      "backup copies SQLite stores; for one on Postgres use pg_dump, and pg_restore to restore it",
    );
  return copyStore(from, out);
}

/**
 * Makes a label store from a backup.
 * @param to SQLite file that does not exist
 * @returns what `verify` says of the store @throws InputError as `backUp`
 */
export async function restore(backup: string, to: string): Promise<Verification> {
  if (isPostgres(to) || isPostgres(backup))
    throw new InputError("restore makes SQLite stores; for one on Postgres use pg_restore");
  return copyStore(backup, to);
}

/** Copies a store to a temporary file, verifies the copy and renames it. */
async function copyStore(from: string, to: string): Promise<Verification> {
  if (existsSync(to)) throw new InputError(`${to}: this file exists; choose another name`);
  const temporary = `${to}.tmp-${process.pid}`;
  const store = await LabelStore.openExisting(from);
  try {
    mkdirSync(dirname(to), { recursive: true });
    await sql`vacuum into ${temporary}`.execute(store.db);
    chmodSync(temporary, 0o600); // password hashes
    const report = await verifyFile(temporary);
    if (report.problemCount)
      throw new InputError(
        `${from}: not copied, since it differs from its log: \`plumbline labels verify --store ${from}\` says where`,
      );
    const file = openSync(temporary, "r");
    fsyncSync(file);
    closeSync(file);
    renameSync(temporary, to);
    return report;
  } catch (error) {
    throw diskError(error, to);
  } finally {
    await store.close();
    for (const end of ["", "-wal", "-shm"]) rmSync(`${temporary}${end}`, { force: true });
  }
}

async function verifyFile(path: string): Promise<Verification> {
  const store = await LabelStore.openExisting(path);
  try {
    return await verify(store);
  } finally {
    await store.close();
  }
}
