import { describe, expect, it } from "vitest";
import { rewardAccuracy, rightness } from "./reward-accuracy.ts";

const comparison = (prompt: string, ranks: number[]) => ({
  prompt: [{ role: "user" as const, content: prompt }],
  completions: ranks.map((_, i) => `answer ${i}`),
  ranks,
});

describe("the accuracy of a reward", () => {
  it("is that of the highest score; ties share", () => {
    expect(rightness({ ranks: [0, 1] }, [2, 1])).toBe(1);
    expect(rightness({ ranks: [0, 1] }, [1, 2])).toBe(0);
    expect(rightness({ ranks: [0, 1] }, [1, 1])).toBe(0.5);
    // RewardBench 2: one right answer of four.
    expect(rightness({ ranks: [0, 1, 1, 1] }, [3, 1, 2, 2.9])).toBe(1);
    expect(rightness({ ranks: [0, 1, 1, 1] }, [3, 1, 2, 3])).toBe(0.5);
    expect(rightness({ ranks: [0, 1, 1, 1] }, [1, 1, 1, 1])).toBe(0.25);
    expect(rightness({ ranks: [0, 1, 1, 1] }, [3, 1, 2, 3.1])).toBe(0);
    // Several right ones: any of them will do.
    expect(rightness({ ranks: [0, 0, 1] }, [1, 2, 0])).toBe(1);
  });

  it("is counted by category, with intervals over prompts", () => {
    const labelled = Array.from({ length: 40 }, (_, i) => ({
      comparison: comparison(`prompt ${i % 20}`, [0, 1]),
      category: i < 20 ? "maths" : "safety",
    }));
    const scores = labelled.map((_, i) => (i < 20 ? [1, 0] : i < 30 ? [0, 1] : [1, 0]));
    const { categories, overall, byCategory, sections } = rewardAccuracy(labelled, scores);
    expect(
      categories.map(({ category, comparisons, accuracy }) => [category, comparisons, accuracy.value]),
    ).toEqual([
      ["maths", 20, 1],
      ["safety", 20, 0.5],
    ]);
    expect(overall.value).toBe(0.75);
    expect(byCategory).toBe(0.75);
    // 20 prompts, not 40 independent comparisons: Wilson's interval of 30 of 40 would be [0.60, 0.86].
    expect(overall.low).toBeGreaterThan(0.5);
    expect(overall.high).toBeLessThan(0.9);
    expect(sections).toBeUndefined();
  });

  it("has RewardBench's sections, weighted by its sizes", () => {
    const subsets: Record<string, number> = {
      "math-prm": 1,
      "hep-cpp": 0,
      "hep-go": 0,
      "hep-java": 0,
      "hep-js": 0,
      "hep-python": 0,
      "hep-rust": 1,
    };
    const names = Object.keys(subsets);
    const labelled = names.map((category) => ({ comparison: comparison(category, [0, 1]), category }));
    const { sections } = rewardAccuracy(
      labelled,
      names.map((name) => (subsets[name] ? [1, 0] : [0, 1])),
    );
    // Mathematics weighs as much as code in six languages: 1/2 + 1/2 · 1/6.
    expect(sections).toEqual({ Reasoning: expect.closeTo(0.5 + 0.5 / 6, 12) });
  });
});
