import { openDatabase } from "./database.ts";
import { apply, hashOf } from "./events.ts";
import type { LabelStore } from "./store.ts";
import { projected } from "./tables.ts";
import { upcast } from "./upcast.ts";

export interface Verification {
  events: number;
  rows: Record<string, number>;
  /** What does not follow from the log; empty when all is well. */
  problems: string[];
}

/** How many problems are told of: more say nothing new. */
const enough = 20;

/** Rebuilds every table from the log in a database of its own, checks the log's chain, and compares. */
export async function verify(store: LabelStore): Promise<Verification> {
  const problems: string[] = [];
  const tell = (problem: string) => problems.length < enough && problems.push(problem);
  const { db: rebuilt } = await openDatabase(":memory:");
  try {
    const events = await store.db.selectFrom("event").selectAll().orderBy("seq").execute();
    let before = "";
    await rebuilt.transaction().execute(async (tx) => {
      for (const [i, { seq, at, actor, data, hash, type, version }] of events.entries()) {
        if (seq !== i + 1) tell(`event ${i + 1} is missing: after ${i} comes ${seq}`);
        if (hash !== hashOf(before, { at, actor, data, version }))
          tell(`event ${seq} ("${type}") is not what was recorded, or one before it is gone`);
        before = hash;
        try {
          await apply(tx, await upcast(tx, version, data), at);
        } catch (error) {
          tell(`event ${seq} ("${type}") cannot be applied: ${(error as Error).message}`);
        }
      }
    });
    const rows: Record<string, number> = {};
    for (const table of Object.keys(projected) as (keyof typeof projected)[]) {
      const [stored, wanted] = await Promise.all([store.db, rebuilt].map((db) => rowsOf(db, table)));
      rows[table] = stored?.size ?? 0;
      for (const [key, row] of wanted ?? [])
        if (!stored?.has(key)) tell(`${table} ${key}: is in the log and not in the table`);
        else if (stored.get(key) !== row) tell(`${table} ${key}: differs from what the log says`);
      for (const key of stored?.keys() ?? [])
        if (!wanted?.has(key)) tell(`${table} ${key}: is in the table and not in the log`);
    }
    return { events: events.length, rows, problems };
  } finally {
    await rebuilt.destroy();
  }
}

/** A table's rows as text, by what tells them apart. */
async function rowsOf(
  db: LabelStore["db"],
  table: keyof typeof projected,
): Promise<ReadonlyMap<string, string>> {
  const rows = (await db.selectFrom(table).selectAll().execute()) as Record<string, unknown>[];
  const text = (row: Record<string, unknown>, columns: readonly string[]) =>
    columns.map((column) => JSON.stringify(row[column])).join(" ");
  return new Map(rows.map((row) => [text(row, projected[table]), text(row, Object.keys(row).sort())]));
}
