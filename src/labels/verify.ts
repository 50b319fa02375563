import { openDatabase } from "./database.ts";
import { applyEvent, eventHash } from "./events.ts";
import type { LabelStore } from "./store.ts";
import { projectionKeys } from "./tables.ts";
import { upcast } from "./upcast.ts";

export interface Verification {
  events: number;
  rows: Record<string, number>;
  /** Differences between the tables and the log, the first of them; empty if there are none. */
  problems: string[];
  /** Number of differences. */
  problemCount: number;
  /** The newest event, by which a copy can be compared with the store; undefined for an empty log. */
  last: { seq: number; at: number; hash: string } | undefined;
}

/** Problems that are listed at most. */
const maxProblems = 20;

/** Checks the log's hash chain, rebuilds every table from the log in a separate database, and compares the tables. */
export async function verify(store: LabelStore): Promise<Verification> {
  const problems: string[] = [];
  let problemCount = 0;
  const report = (problem: string) => {
    if (problemCount++ < maxProblems) problems.push(problem);
  };
  const { db: rebuilt } = await openDatabase(":memory:");
  try {
    const events = await store.db.selectFrom("event").selectAll().orderBy("seq").execute();
    let previousHash = "";
    let expectedSeq = 1;
    await rebuilt.transaction().execute(async (tx) => {
      for (const { seq, at, actor, data, hash, type, version } of events) {
        if (seq !== expectedSeq)
          report(
            `event ${expectedSeq}${seq > expectedSeq + 1 ? ` to ${seq - 1}` : ""} is missing: after ${expectedSeq - 1} comes ${seq}`,
          );
        expectedSeq = seq + 1;
        if (hash !== eventHash(previousHash, { at, actor, data, version }))
          report(`event ${seq} ("${type}") was changed after it was recorded, or one before it is missing`);
        previousHash = hash;
        try {
          await applyEvent(tx, await upcast(tx, version, data), at);
        } catch (error) {
          report(`event ${seq} ("${type}") cannot be applied: ${(error as Error).message}`);
        }
      }
    });
    const rows: Record<string, number> = {};
    for (const table of Object.keys(projectionKeys) as (keyof typeof projectionKeys)[]) {
      const [stored, expected] = await Promise.all([store.db, rebuilt].map((db) => readRowsByKey(db, table)));
      rows[table] = stored?.size ?? 0;
      for (const [key, row] of expected ?? [])
        if (!stored?.has(key)) report(`${table} ${key}: is in the log and not in the table`);
        else if (stored.get(key) !== row) report(`${table} ${key}: differs from what the log says`);
      for (const key of stored?.keys() ?? [])
        if (!expected?.has(key)) report(`${table} ${key}: is in the table and not in the log`);
    }
    const newest = events.at(-1);
    const last = newest && { seq: newest.seq, at: newest.at, hash: newest.hash };
    return { events: events.length, rows, problems, problemCount, last };
  } finally {
    await rebuilt.destroy();
  }
}

/** Reads a table's rows as text, by primary key. */
async function readRowsByKey(
  db: LabelStore["db"],
  table: keyof typeof projectionKeys,
): Promise<ReadonlyMap<string, string>> {
  const rows = (await db.selectFrom(table).selectAll().execute()) as Record<string, unknown>[];
  const text = (row: Record<string, unknown>, columns: readonly string[]) =>
    columns.map((column) => JSON.stringify(row[column])).join(" ");
  return new Map(rows.map((row) => [text(row, projectionKeys[table]), text(row, Object.keys(row).sort())]));
}
