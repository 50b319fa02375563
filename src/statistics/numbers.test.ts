import fc from "fast-check";
import { expect, it } from "vitest";
import { ranksWithTies } from "./numbers.ts";

const scores = fc.array(fc.integer({ min: -20, max: 20 }), { maxLength: 9 });

it("ranks without a margin are one more than the number of higher scores", () => {
  fc.assert(
    fc.property(scores, (scores) => {
      const higher = scores.map((score) => 1 + scores.filter((other) => other > score).length);
      expect(ranksWithTies(scores, 0)).toEqual(higher);
    }),
  );
});

it("within a margin, ranks keep the order, tie only near scores, and never chain", () => {
  fc.assert(
    fc.property(scores, fc.nat(10), (scores, margin) => {
      const ranks = ranksWithTies(scores, margin);
      for (const [i, a] of scores.entries())
        for (const [j, b] of scores.entries()) {
          if (a > b) expect(ranks[i]).toBeLessThanOrEqual(ranks[j] as number);
          if (ranks[i] === ranks[j]) expect(Math.abs(a - b)).toBeLessThanOrEqual(margin);
        }
    }),
  );
});
