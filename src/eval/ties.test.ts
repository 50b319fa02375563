import { expect, it } from "vitest";
import { readTiesId, type TiesQuestion, tiesScore } from "./ties.ts";

const ref = (pair: string, right: number[], wrong: number[]): TiesQuestion => ({
  pair,
  kind: "ref",
  right,
  wrong,
});
const tied = (pair: string, right: number[], wrong: number[]): TiesQuestion => ({
  pair,
  kind: "tied",
  right,
  wrong,
});

// By hand from the rule.
it.each([
  [
    "all right, close together",
    [ref("1", [3], [0]), tied("1", [3, 4], [0, 1])],
    1 + 0.01 * Math.tanh(2 / 1 - 1),
  ],
  [
    "right, but farther apart than above",
    [ref("1", [9], [0]), tied("1", [2, 9], [1])],
    0.6 + 0.01 * Math.tanh(1 / 7 - 1),
  ],
  [
    "the other question's margin is smaller",
    [ref("1", [1], [0.5]), tied("1", [3, 4], [0])],
    0.8 + 0.01 * Math.tanh(0.5 - 1),
  ],
  [
    "one wrong answer above a right one",
    [ref("1", [1], [0]), tied("1", [1, 3], [2])],
    0.3 + 0.01 * Math.tanh(-1 / 2 - 1),
  ],
  ["equal scores of right answers", [ref("1", [1], [0]), tied("1", [2, 2], [0])], 1.01],
  [
    "two pairs, and a question without its other",
    [
      ref("1", [3], [0]),
      tied("1", [3, 4], [0, 1]),
      ref("2", [0], [1]),
      tied("2", [0, 1], [3]),
      tied("3", [2, 2.5], [0]),
    ],
    0.3 * (2 / 3) + 0.3 / 2 + 0.2 / 2 + 0.2 / 2 + (0.01 * (Math.tanh(1) + Math.tanh(-3 / 1 - 1))) / 2,
  ],
])("of %s", (_, questions, score) => {
  expect(tiesScore(questions)).toBeCloseTo(score, 12);
});

it("is undefined without a pair, and reads only ids of questions", () => {
  expect(tiesScore([ref("1", [1], [0])])).toBeUndefined();
  expect(readTiesId("tied:12")).toEqual({ kind: "tied", pair: "12" });
  expect(readTiesId("12")).toBeUndefined();
});
