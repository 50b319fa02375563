import { expect, it } from "vitest";
import { tinyModel } from "../../../test/tiny.ts";
import { groupByPrompt } from "../../batch/groups.ts";
import { scoreAll } from "../../batch/score.ts";
import type { Comparison } from "../../data/records.ts";
import { evaluate } from "./evaluate.ts";

const comparison = (
  prompt: string,
  completions: string[],
  weight: number,
  more: Partial<Comparison> = {},
): Comparison => ({
  prompt: [{ role: "user", content: prompt }],
  completions,
  weight,
  ranks: completions.map((_, i) => i),
  ...more,
});

it("counts comparisons by their weight", () => {
  const judge = tinyModel(2).withScoreHead({ std: 1 });
  // The same two answers, preferred both ways: one of them is right.
  const both = (first: number, second: number) =>
    evaluate(
      [judge],
      groupByPrompt(judge, [comparison("p", ["aa", "b"], first), comparison("p", ["b", "aa"], second)], 100)
        .groups,
    ).metrics.eval_accuracy as number;
  expect(both(1, 1)).toBe(0.5);
  expect([both(1, 0.25), both(0.25, 1)].sort()).toEqual([0.2, 0.8]);
});

it("weights every other metric in the same way", () => {
  const judge = tinyModel(2).withScoreHead({ std: 1 });
  const report = (first: number, second: number) =>
    evaluate(
      [judge],
      groupByPrompt(
        judge,
        [
          comparison("p", ["aa", "b"], first, { labeler: "x" }),
          comparison("p", ["b", "aa"], second, { labeler: "x" }),
        ],
        100,
      ).groups,
    );
  // Both pairs differ by the same margin, one this way and one that: weights of w and 1 − w make the mean (2w − 1) times it.
  const margin = Math.abs(report(1, 0.5).metrics.eval_margin as number) * 3;
  const { metrics, byLabeler, byStrength } = report(0.75, 0.25);
  const accuracy = metrics.eval_accuracy as number;
  expect([0.25, 0.75]).toContain(accuracy);
  expect(metrics.eval_margin).toBeCloseTo((2 * accuracy - 1) * margin, 6);
  expect(byLabeler.x).toEqual({ accuracy, pairs: 2 });
  expect(byStrength["1"]).toEqual({ accuracy, pairs: 2 });
  // "aa" is longer than "b": it wins with one of both weights.
  expect([0.25, 0.75]).toContain(metrics.eval_longer_wins);
  const confidence = 1 / (1 + Math.exp(-margin));
  expect(metrics["calibration/ece"]).toBeCloseTo(Math.abs(accuracy - confidence), 6);
});

it("counts a soft label as right with its probability", () => {
  const judge = tinyModel(2).withScoreHead({ std: 1 });
  const [a, b] = ["aa", "b"];
  const right = evaluate([judge], groupByPrompt(judge, [comparison("p", [a, b], 1)], 100).groups).metrics;
  const better = (right.eval_accuracy as number) === 1 ? [a, b] : [b, a];
  const soft = evaluate(
    [judge],
    groupByPrompt(judge, [comparison("p", better, 1, { probability: 0.7 })], 100).groups,
  ).metrics;
  expect(soft.eval_accuracy).toBeCloseTo(0.7, 9);
  expect(soft.eval_pairs).toBe(1);
  const confidence = 1 / (1 + Math.exp(-Math.abs(right.eval_margin as number)));
  expect(soft["calibration/ece"]).toBeCloseTo(Math.abs(0.7 - confidence), 6);
});

it("counts each prompt alike, as training does", () => {
  const judge = tinyModel(2).withScoreHead({ std: 1 });
  const texts = ["a", "bb", "ccc", "dddd", "eeeee", "ffffff"];
  const inOrder = (prompt: string, some: string[]): string[] => {
    const [group] = groupByPrompt(judge, [comparison(prompt, some, 1)], 100).groups;
    const scores = scoreAll(judge, group?.rows ?? []);
    return some.toSorted((a, b) => (scores[some.indexOf(b)] as number) - (scores[some.indexOf(a)] as number));
  };
  // One pair that is right, and fifteen of another prompt that are wrong.
  const right = comparison("p", inOrder("p", ["aa", "b"]), 1);
  const wrong = comparison("q", inOrder("q", texts).reverse(), 1);
  const { metrics } = evaluate([judge], groupByPrompt(judge, [right, wrong], 100).groups);
  expect(metrics.eval_pairs).toBe(16);
  expect(metrics.eval_accuracy).toBeCloseTo(0.5, 9);
  // Two prompts are too few for an interval.
  expect(metrics).not.toHaveProperty("eval_accuracy_low");
});
