import { expect, it } from "vitest";
import { cohorts } from "./cohorts.ts";
import type { Judged } from "./judgements.ts";
import type { User } from "./records.ts";

const user = (id: string, region: string | undefined): User => ({
  id,
  name: id,
  role: "labeler",
  skills: [],
  active: true,
  since: 0,
  cohort: region === undefined ? {} : { region },
});
const users = [user("n1", "north"), user("n2", "north"), user("s1", "south"), user("x", undefined)];
const said = (task: string, labeler: string, preferred: number): Judged => ({
  id: `${task} ${labeler}`,
  task,
  labeler,
  answer: {},
  order: [0, 1],
  seconds: 1,
  at: 0,
  repeat: false,
  source: null,
  gold: undefined,
  verdicts: [{ first: 0, second: 1, preferred }],
});

it("tells who the labelers are, and that those who are alike agree more", () => {
  // On 40 tasks the north says one thing; the south says another on three of four. Who has no region is left out.
  const open = Array.from({ length: 40 }, (_, i) => [
    ...["n1", "n2", "x"].map((labeler) => said(`t${i}`, labeler, 1)),
    said(`t${i}`, "s1", i % 4 ? -1 : 1),
  ]).flat();
  const [region] = cohorts(open, users);
  expect(region?.values).toEqual([
    { value: "north", labelers: 2, judgements: 80 },
    { value: "south", labelers: 1, judgements: 40 },
  ]);
  expect(region?.within.value?.value).toBe(1);
  expect(region?.across.value?.value).toBe(0.25);
  expect(region?.difference.value?.value).toBe(0.75);
  expect(region?.difference.value?.low).toBeGreaterThan(0.5);
});

it("says why there is no number", () => {
  const [region] = cohorts([said("t", "n1", 1), said("u", "s1", 1)], users);
  expect(region?.within).toEqual({ reason: "no two of them judged the same" });
  expect(cohorts([], [user("x", undefined)])).toEqual([]);
});
