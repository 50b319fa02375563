import { expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import type { Scorer } from "../rewards/scorer.ts";
import { distinct, evaluate } from "./evaluate.ts";

it("divides distinct n-grams by words, as Li et al. 2016 do", () => {
  // By hand: seven words of which four are distinct; "a b", "b a" and "c d" of four pairs.
  const texts = ["a b A b", "c d!", "c"];
  expect(distinct(texts, 1)).toBeCloseTo(4 / 7, 12);
  expect(distinct(texts, 2)).toBeCloseTo(3 / 7, 12);
  expect(distinct(["", "…"], 2)).toBe(0);
});

it("measures distinct-n on one response to each prompt, so that models of unequal samples compare", async () => {
  const model = tinyModel(1);
  const scorer: Scorer = {
    score: async (answers) => answers.map(() => ({ score: 0, parts: {} })),
    model: undefined,
    dispose: () => undefined,
  };
  const prompts = ["a", "b", "c"].map((content) => ({ prompt: [{ role: "user" as const, content }] }));
  const { samples, distinct1 } = await evaluate({
    model,
    reference: model,
    scorer,
    prompts,
    gold: () => 0,
    samples: 4,
    maxTokens: 16,
    seed: 1,
  });
  const firsts = [0, 4, 8].map((place) => samples[place]?.text as string);
  expect(samples).toHaveLength(12);
  expect(distinct1).toBe(distinct(firsts, 1));
});
