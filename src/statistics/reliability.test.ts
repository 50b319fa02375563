import { describe, expect, it } from "vitest";
import { goldenJson } from "../../test/golden.ts";
import { uniform } from "./random.ts";
import { dawidSkene, estimateReliability, trainingWeight, type Vote } from "./reliability.ts";

const golden = goldenJson("agreement.json") as {
  dawidSkene: { ratings: [number, number, number][]; classes: number; posteriors: number[][] }[];
};

describe("Dawid and Skene's model", () => {
  it.each(golden.dawidSkene.map((one, i) => ({ ...one, i })))(
    "equals NumPy's, case $i",
    ({ ratings, classes, posteriors }) => {
      const rows = ratings.map(([item, labeler, label]) => ({
        item: Number(item),
        labeler: Number(labeler),
        label,
      }));
      const found = dawidSkene(rows, { items: posteriors.length, labelers: 6, classes }, { smoothing: 0.5 });
      // Both climb the same hill from the same start; ours stops where a step gains a part in 10¹³.
      for (const [item, row] of posteriors.entries())
        for (const [c, p] of row.entries()) expect(found.posteriors[item]?.[c]).toBeCloseTo(p, 4);
      for (const [i, value] of found.trace.entries())
        expect(value).toBeGreaterThanOrEqual((found.trace[i - 1] ?? -Infinity) - 1e-9);
    },
  );

  it("does not change known items, and gives labelers with few labels one accuracy", () => {
    const rows = [0, 1, 2, 3].flatMap((item) =>
      [0, 1].map((labeler) => ({ item, labeler, label: item % 2 })),
    );
    const found = dawidSkene(
      rows,
      { items: 4, labelers: 2, classes: 2 },
      { gold: new Map([[0, 1]]), smoothing: 1 },
    );
    expect(found.posteriors[0]).toEqual([0, 1]);
    const [matrix] = found.confusion as [number[][]];
    expect(matrix[0]?.[0]).toBeCloseTo(matrix[1]?.[1] as number, 12);
  });
});

describe("reliability from pairs", () => {
  type Kind = "good" | "careless" | "adversarial" | "left";

  /** 20 labelers, 2,400 judgements: the good err at 10 %, others answer at random, against the truth, or left. */
  function simulate(kinds: readonly Kind[], perPair: number, seed: number): { votes: Vote[]; pairs: number } {
    const next = uniform(seed);
    const pairs = Math.round(2400 / perPair);
    const votes = Array.from({ length: pairs }, (_, pair) => {
      const who = new Set<number>();
      while (who.size < perPair) who.add(Math.floor(next() * kinds.length));
      const truth = Number(next() < 0.5);
      return [...who].map((labeler): Vote => {
        const firstLeft = next() < 0.5;
        const slip = next() < 0.1 ? 1 - truth : truth;
        const first = {
          good: slip,
          careless: Number(next() < 0.5),
          adversarial: 1 - slip,
          left: next() < 0.6 ? Number(firstLeft) : slip,
        }[kinds[labeler] as Kind];
        return { pair, labeler, firstShownLeft: firstLeft, first };
      });
    }).flat();
    return { votes, pairs };
  }
  const kindsOf = (good: number, careless: number, adversarial: number, left = 0): Kind[] => [
    ...new Array<Kind>(good).fill("good"),
    ...new Array<Kind>(careless).fill("careless"),
    ...new Array<Kind>(adversarial).fill("adversarial"),
    ...new Array<Kind>(left).fill("left"),
  ];
  const nothing = (kinds: readonly Kind[]) => kinds.map(() => ({ right: 0, wrong: 0 }));

  it.each([2, 3, 4])(
    "tells good, careless and adversarial labelers apart by %i judgements a pair",
    (perPair) => {
      const kinds = kindsOf(12, 6, 2);
      for (const seed of [1, 2, 3]) {
        const { votes, pairs } = simulate(kinds, perPair, seed);
        const { accuracy, trace } = estimateReliability(votes, pairs, nothing(kinds));
        // 120 judgements each, of truths that are inferred: standard errors of 0.03 to 0.06.
        for (const [k, kind] of kinds.entries()) {
          const truth = { good: 0.9, careless: 0.5, adversarial: 0.1, left: 0.5 }[kind];
          expect(Math.abs((accuracy[k] as number) - truth)).toBeLessThan(0.18);
        }
        for (const [i, value] of trace.entries())
          expect(value).toBeGreaterThanOrEqual((trace[i - 1] ?? -Infinity) - 1e-9);
      }
    },
  );

  it("detects a bias to the left", () => {
    const kinds = kindsOf(15, 0, 0, 5);
    const { votes, pairs } = simulate(kinds, 3, 4);
    const { leftBias } = estimateReliability(votes, pairs, nothing(kinds));
    // Right on the left 0.6 + 0.4 · 0.9, on the right 0.4 · 0.9: a difference of 0.6.
    for (const [k, kind] of kinds.entries())
      expect(Math.abs((leftBias[k] as number) - (kind === "left" ? 0.6 : 0))).toBeLessThan(0.25);
  });

  it("uses known answers; starts from a prior; counts a tie as half of each", () => {
    const alone = (right: number, wrong: number) =>
      estimateReliability([], 0, [{ right, wrong }]).accuracy[0];
    expect(alone(0, 0)).toBeCloseTo(2 / 3, 9);
    expect(alone(40, 0)).toBeCloseTo(44 / 46, 9);
    expect(alone(0, 40)).toBeCloseTo(4 / 46, 9);
    const tie = estimateReliability([{ pair: 0, labeler: 0, firstShownLeft: true, first: 0.5 }], 1, [
      { right: 0, wrong: 0 },
    ]);
    expect(tie.first[0]).toBeCloseTo(0.5, 9);
    expect([trainingWeight(2 / 3), trainingWeight(0.5), trainingWeight(0.2), trainingWeight(1)]).toEqual([
      expect.closeTo(1 / 3),
      0,
      0,
      1,
    ]);
  });
});
