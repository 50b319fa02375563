import { copyFileSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterAll, expect, it } from "vitest";
import { backUp, restore } from "./backup.ts";
import { LabelStore } from "./store.ts";

const folder = mkdtempSync(join(tmpdir(), "backup-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);

async function countEvents(path: string): Promise<number> {
  const store = await LabelStore.openExisting(path);
  const { length } = await store.db.selectFrom("event").select("seq").execute();
  await store.close();
  return length;
}

it("copies a store that is being written to, whole; a plain copy of its file lacks the newest events", async () => {
  const store = await LabelStore.open(at("live.db"));
  const owner = await store.addUser(null, { name: "owner", role: "owner" });
  let writing = true;
  let written = 0;
  const writer = (async () => {
    for (; writing; written++) {
      await store.addProject(owner.id, { name: `project ${written}`, settings: { kind: "pairwise" } });
      await setImmediate(); // the driver of SQLite is synchronous
    }
  })();
  while (written < 20) await setImmediate();
  const before = written;
  const { events, last, problems } = await backUp(at("live.db"), at("copy.db")).finally(() => {
    writing = false;
  });
  await writer;
  expect(problems).toEqual([]);
  expect(events).toBeGreaterThanOrEqual(before + 1);
  expect(events).toBeLessThanOrEqual(written + 1);
  expect(last?.seq).toBe(events);
  copyFileSync(at("live.db"), at("plain.db"));
  expect(await countEvents(at("plain.db"))).toBeLessThan(written + 1);
  expect(await countEvents(at("copy.db"))).toBe(events);
  await store.close();

  expect((await restore(at("copy.db"), at("restored.db"))).last).toEqual(last);
  expect(await countEvents(at("restored.db"))).toBe(events);
  // Password hashes are in it: for its owner alone.
  for (const name of ["live.db", "copy.db", "restored.db"])
    expect(statSync(at(name)).mode & 0o777).toBe(0o600);
});

it("refuses what exists, what is damaged, and Postgres, and leaves nothing behind", async () => {
  const store = await LabelStore.open(at("small.db"));
  await store.addUser(null, { name: "owner", role: "owner" });
  await expect(backUp(at("small.db"), at("copy.db"))).rejects.toThrow(/copy.db: this file exists/);
  await expect(restore(at("none.db"), at("x.db"))).rejects.toThrow(/no such label store/);
  await expect(backUp("postgres://host/db", at("x.db"))).rejects.toThrow(/pg_dump/);
  await store.db.updateTable("user").set({ name: "other" }).execute();
  await expect(backUp(at("small.db"), at("x.db"))).rejects.toThrow(/labels verify/);
  await store.close();
  expect(existsSync(at("x.db"))).toBe(false);
  expect(readdirSync(folder).filter((name) => name.includes("tmp"))).toEqual([]);
});
