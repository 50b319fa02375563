import { afterEach, beforeEach, expect, it } from "vitest";
import { readDrafts } from "../data/readers.ts";
import { claimInvitation, createInvitation } from "./accounts.ts";
import { importTasks } from "./import.ts";
import { labelerQuality } from "./labelers.ts";
import { LabelStore } from "./store.ts";

let store: LabelStore;
beforeEach(async () => {
  store = await LabelStore.open(":memory:");
});
afterEach(() => store.close());

const add = (name: string) => store.addUser(null, { name, role: "labeler" });

it("names that look like another's are refused", async () => {
  await add("Anna Maria");
  for (const name of [
    "Anna Maria",
    "anna maria",
    "Ａnna Maria",
    "Anna  Maria",
    "ANNA MARIA ",
    "An\u200dna Maria",
  ])
    await expect(add(name)).rejects.toThrow('there is a "Anna Maria" already');
  for (const name of ["Anna\u200b Maria", "\u202eairaM annA", "a\nb", "\0"])
    await expect(add(name)).rejects.toThrow(/a character that is not visible/);
  for (const name of ["", "  ", "x".repeat(5000)])
    await expect(add(name)).rejects.toThrow(/1 to 200 characters/);
  await add("Anna-Maria");
});

it("a file's labeler is not the account of that name", async () => {
  const { token } = await createInvitation(store, null, "owner", null);
  const anna = await claimInvitation(store, token, { name: "Anna", password: "a long password" });
  const project = await store.addProject(anna.id, { name: "p", settings: { kind: "pairwise" } });
  const row = { prompt: "p", chosen: "a", rejected: "b" };
  const rows = ["anna", "A1", "a1"].map((labeler, i) => ({
    line: i,
    value: { ...row, prompt: `p${i}`, labeler },
  }));
  const report = await importTasks(store, anna.id, project, readDrafts("pairs.jsonl", rows), "judgements");
  expect(report.judgements).toBe(3);
  // Identifiers of a file may differ in case alone.
  expect((await store.users()).map(({ name }) => name).sort()).toEqual([
    "A1",
    "Anna",
    "a1",
    "anna (imported)",
  ]);
  const judged = await store.db.selectFrom("judgement").select("labeler").execute();
  expect(judged.map(({ labeler }) => labeler)).not.toContain(anna.id);
  // Again: the same people.
  await importTasks(store, anna.id, project, readDrafts("pairs.jsonl", rows), "judgements");
  expect(await store.users()).toHaveLength(4);
});

it("a labeler without a judgement has the weight of the prior", async () => {
  const owner = await add("owner");
  const project = await store.addProject(owner.id, { name: "p", settings: { kind: "pairwise" } });
  const invitation = await createInvitation(store, owner.id, "labeler", project.id);
  await claimInvitation(store, invitation.token, { name: "new", password: "a long password" });
  const [quality] = await labelerQuality(store, project);
  expect(quality?.weight).toBeCloseTo(1 / 3, 12); // docs/labels.md: a third for a new labeler
});
