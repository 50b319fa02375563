import { describe, expect, it } from "vitest";
import { emptyMoments, mergeMoments } from "../../math/index.ts";
import { advantagesOf, haveSpread } from "./advantages.ts";

// By hand: prompt 0 scores 1, 2, 6 (mean 3, deviation √7), prompt 1 scores 4, 4, 4 (mean 4, deviation 0).
const scores = [1, 2, 6, 4, 4, 4];
const groups = [0, 0, 0, 1, 1, 1];
const samplesOf = (scores: number[], prompts: number[]) =>
  scores.map((score, i) => ({ score, promptIndex: prompts[i] as number }));
const advantages = (
  baseline: "group" | "leaveOneOut" | "running",
  scale: "group" | "batch" | "none",
  before = emptyMoments,
) => advantagesOf(samplesOf(scores, groups), before, { baseline, scale });
const close = (found: number[], expected: number[]) =>
  found.forEach((value, i) => expect(value).toBeCloseTo(expected[i] as number, 10));

describe("advantages", () => {
  it("GRPO: over the mean of the prompt's, in its deviations", () => {
    const deviation = Math.sqrt(7) + 1e-4;
    close(advantages("group", "group"), [-2 / deviation, -1 / deviation, 3 / deviation, 0, 0, 0]);
  });
  it("Dr. GRPO: over the mean of the prompt's", () => {
    close(advantages("group", "none"), [-2, -1, 3, 0, 0, 0]);
  });
  it("RLOO: over the mean of the prompt's others", () => {
    close(advantages("leaveOneOut", "none"), [1 - 4, 2 - 3.5, 6 - 1.5, 0, 0, 0]);
  });
  it("by the batch's deviation: mean 3.5, Σ(x − 3.5)² = 15.5", () => {
    const deviation = Math.sqrt(15.5 / 5) + 1e-4;
    close(advantages("group", "batch"), [-2 / deviation, -1 / deviation, 3 / deviation, 0, 0, 0]);
  });
  it("REINFORCE: over the mean of all earlier ones, and of its own batch at first", () => {
    close(
      advantages("running", "none"),
      scores.map((score) => score - 3.5),
    );
    close(
      advantages("running", "none", mergeMoments(emptyMoments, [0, 2])),
      scores.map((score) => score - 1),
    );
  });
  it("a single response has none", () => {
    expect(
      advantagesOf(samplesOf([5], [0]), emptyMoments, { baseline: "leaveOneOut", scale: "none" }),
    ).toEqual([0]);
    expect(advantagesOf(samplesOf([5], [0]), emptyMoments, { baseline: "group", scale: "group" })).toEqual([
      0,
    ]);
  });
});

it("finds the prompts whose responses have different scores", () => {
  expect([...haveSpread(samplesOf(scores, groups))]).toEqual([0]);
  expect([...haveSpread(samplesOf([1, 1, 2], [7, 7, 7]))]).toEqual([7]);
});
