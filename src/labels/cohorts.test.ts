import { expect, it } from "vitest";
import { cohortAgreement } from "./cohorts.ts";
import type { Judgement } from "./judgements.ts";
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
const judgement = (task: string, labeler: string, margin: number): Judgement => ({
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
  preferences: [{ first: 0, second: 1, margin }],
});

it("counts labelers by cohort, and finds that labelers of a group agree more", () => {
  // On 40 tasks the north says one thing; the south says another on three of four. Who has no region is left out.
  const judgements = Array.from({ length: 40 }, (_, i) => [
    ...["n1", "n2", "x"].map((labeler) => judgement(`t${i}`, labeler, 1)),
    judgement(`t${i}`, "s1", i % 4 ? -1 : 1),
  ]).flat();
  const [region] = cohortAgreement(judgements, users);
  expect(region?.values).toEqual([
    { value: "north", labelers: 2, judgements: 80 },
    { value: "south", labelers: 1, judgements: 40 },
  ]);
  expect(region?.within.value?.value).toBe(1);
  expect(region?.across.value?.value).toBe(0.25);
  expect(region?.difference).toEqual({
    value: expect.any(Number),
    reason: "too few labelers to say: they can be divided in 3 ways",
  });
});

it("gives the reason if there is no number", () => {
  const [region] = cohortAgreement([judgement("t", "n1", 1), judgement("u", "s1", 1)], users);
  expect(region?.within).toEqual({ reason: "no two of them judged the same pair" });
  expect(cohortAgreement([], [user("x", undefined)])).toEqual([]);
});
