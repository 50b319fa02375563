import { expect, it } from "vitest";
import { tinyModel } from "../../../test/tiny.ts";
import { groupByPrompt } from "../../batch/groups.ts";
import type { Comparison } from "../../data/records.ts";
import { evaluate } from "./evaluate.ts";

const said = (prompt: string, completions: string[], weight: number): Comparison => ({
  prompt: [{ role: "user", content: prompt }],
  completions,
  weight,
  ranks: completions.map((_, i) => i),
});

it("counts comparisons by their weight", () => {
  const judge = tinyModel(2).withScoreHead({ std: 1 });
  // The same two answers, preferred both ways: one of them is right.
  const both = (first: number, second: number) =>
    evaluate(
      judge,
      groupByPrompt(judge, [said("p", ["aa", "b"], first), said("p", ["b", "aa"], second)], 100).groups,
    ).metrics.eval_accuracy as number;
  expect(both(1, 1)).toBe(0.5);
  expect([both(1, 0.25), both(0.25, 1)].sort()).toEqual([0.2, 0.8]);
});
