import { expect, it } from "vitest";
import { scope } from "../tensor/index.ts";
import { countLearned } from "./pack.ts";
import { layOutResponses } from "./score.ts";

it("masks padding and tokens that were not sampled", () => {
  const rows = [
    { promptTokens: [1], tokens: [2, 3, 4], mask: [1, 0, 1] },
    { promptTokens: [1, 5], tokens: [6] },
  ];
  scope(() => {
    const { responseMask, targets } = layOutResponses(rows);
    expect(responseMask.shape).toEqual([2, 3]);
    expect(responseMask.toArray()).toEqual([1, 0, 1, 1, 0, 0]);
    expect(targets.toArray()).toEqual([2, 3, 4, 6]);
  });
  expect(countLearned(rows)).toBe(3);
});
