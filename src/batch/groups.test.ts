import { describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import type { Comparison } from "../data/records.ts";
import { groupByPrompt, pairTensors } from "./groups.ts";

const model = tinyModel(1);
const user = (content: string) => [{ role: "user" as const, content }];
const ranking = (prompt: string, completions: string[], weight?: number): Comparison => ({
  prompt: user(prompt),
  completions,
  ranks: completions.map((_, i) => i),
  ...(weight !== undefined && { weight }),
});
const group = (comparisons: Comparison[]) => groupByPrompt(model, comparisons, 100).groups;

describe("weighted comparisons", () => {
  it("give each prompt the same total weight, and each pair its share of it", () => {
    const { weights } = pairTensors(
      group([ranking("p", ["a", "b"], 0.5), ranking("p", ["c", "d"]), ranking("q", ["a", "b"])]),
    );
    // Two pairs of the first prompt, one of the second: each prompt has half.
    expect(weights.toArray()).toEqual([0.5 / 2 / 2, 1 / 2 / 2, 1 / 2]);
  });

  it("with a probability below 1 become a pair in each order, weighted by its probability", () => {
    const { better, worse, weights } = pairTensors(
      group([{ ...ranking("p", ["a", "b"], 0.5), probability: 0.75 }, ranking("q", ["a", "b"])]),
    );
    expect(better.toArray()).toEqual([0, 1, 2]);
    expect(worse.toArray()).toEqual([1, 0, 3]);
    expect(weights.toArray()).toEqual([0.5 * 0.75 * 0.5, 0.5 * 0.25 * 0.5, 0.5]);
  });

  it("of weight 0 make no pairs", () => {
    const all = [ranking("p", ["a", "b"]), ranking("p", ["b", "a"], 0), ranking("q", ["a", "b"], 0)];
    const without = group(all.slice(0, 1));
    expect(group(all).map(({ pairs }) => pairs)).toEqual(without.map(({ pairs }) => pairs));
  });
});
