import { describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import type { Comparison } from "../data/records.ts";
import { evaluate } from "./evaluate.ts";
import { groupByPrompt, pairsOf } from "./groups.ts";

const model = tinyModel(1);
const user = (content: string) => [{ role: "user" as const, content }];
const said = (prompt: string, completions: string[], weight?: number): Comparison => ({
  ...{ prompt: user(prompt), completions, ranks: completions.map((_, i) => i) },
  ...(weight !== undefined && { weight }),
});
const group = (comparisons: Comparison[]) => groupByPrompt(model, comparisons, 100).groups;

describe("weighted comparisons", () => {
  it("count by their weight, as a share of their prompt's", () => {
    const { weights } = pairsOf(
      group([said("p", ["a", "b"], 0.5), said("p", ["c", "d"]), said("q", ["a", "b"])]),
    );
    // Two pairs of the first prompt, one of the second: each prompt has half.
    expect(weights.toArray()).toEqual([0.5 / 2 / 2, 1 / 2 / 2, 1 / 2]);
  });

  it("of weight 0 are as if they were not there", () => {
    const all = [said("p", ["a", "b"]), said("p", ["b", "a"], 0), said("q", ["a", "b"], 0)];
    const without = group(all.slice(0, 1));
    expect(group(all).map(({ pairs }) => pairs)).toEqual(without.map(({ pairs }) => pairs));
  });

  it("count as much in held-out accuracy", () => {
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
});
