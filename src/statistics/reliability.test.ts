import { describe, expect, it } from "vitest";
import { goldenJson } from "../../test/golden.ts";
import { uniform } from "./random.ts";
import {
  dawidSkene,
  estimateReliability,
  type LabelerReliability,
  labelerAccuracy,
  trainingWeight,
  type Vote,
} from "./reliability.ts";

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

describe("the accuracy of labelers", () => {
  const rate = (labels: (string | undefined)[][]) =>
    labels.flatMap((row, item) =>
      row.flatMap((label, k) => (label === undefined ? [] : [{ item: `i${item}`, labeler: `l${k}`, label }])),
    );

  it("is high for those who agree on many labels", () => {
    // Three on nine items of nine labels, two on sixty of twenty: a pseudo-count for each cell made it chance.
    const three = labelerAccuracy(rate(Array.from({ length: 9 }, (_, i) => new Array(3).fill(`${i}`))));
    const two = labelerAccuracy(rate(Array.from({ length: 60 }, (_, i) => new Array(2).fill(`${i % 20}`))));
    for (const accuracy of [...Object.values(three), ...Object.values(two)])
      expect(accuracy).toBeGreaterThan(0.9);
  });

  it("is near what was planted, with ten labels", () => {
    const next = uniform(3);
    const accuracy = [0.825, 0.9, 0.7, 0.95];
    const labels = Array.from({ length: 300 }, () => {
      const truth = Math.floor(10 * next());
      return accuracy.map((p) => String(next() < p ? truth : (truth + 1 + Math.floor(9 * next())) % 10));
    });
    const found = labelerAccuracy(rate(labels));
    // Three standard errors of 300 labels, the smallest accuracy's.
    accuracy.forEach((p, k) => {
      expect(Math.abs((found[`l${k}`] as number) - p)).toBeLessThan(3 * Math.sqrt((0.7 * 0.3) / 300));
    });
  });

  it("is not known of those whose items nobody else rated", () => {
    const found = labelerAccuracy(rate([["a"], ["b"], [undefined, "a", "a"], [undefined, "b", "b"]]));
    expect(found.l0).toBeNull();
    expect(found.l1).toBeGreaterThan(0.5);
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
        return { pair, task: pair, labeler, firstShownLeft: firstLeft, first };
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

  it.each([2, 3, 4])(
    "tells good, careless and adversarial labelers apart by %i judgements a pair",
    (perPair) => {
      const kinds = kindsOf(12, 6, 2);
      for (const seed of [1, 2, 3]) {
        const { votes, pairs } = simulate(kinds, perPair, seed);
        const { labelers, trace } = estimateReliability(votes, { pairs, labelers: kinds.length });
        // 120 judgements each, of truths that are inferred: standard errors of 0.03 to 0.06.
        for (const [k, kind] of kinds.entries()) {
          const truth = { good: 0.9, careless: 0.5, adversarial: 0.1, left: 0.5 }[kind];
          const { accuracy, high } = labelers[k] as LabelerReliability;
          expect(Math.abs(accuracy - truth)).toBeLessThan(0.18);
          expect(high).toBeGreaterThan(accuracy);
        }
        for (const [i, value] of trace.entries())
          expect(value).toBeGreaterThanOrEqual((trace[i - 1] ?? -Infinity) - 1e-9);
      }
    },
  );

  it("detects a bias to the left", () => {
    const kinds = kindsOf(15, 0, 0, 5);
    const { votes, pairs } = simulate(kinds, 3, 4);
    const { labelers } = estimateReliability(votes, { pairs, labelers: kinds.length });
    // Right on the left 0.6 + 0.4 · 0.9, on the right 0.4 · 0.9: a difference of 0.6.
    for (const [k, kind] of kinds.entries())
      expect(Math.abs((labelers[k]?.leftBias as number) - (kind === "left" ? 0.6 : 0))).toBeLessThan(0.25);
  });

  it("uses known answers; starts from a prior; counts a tie as half of each", () => {
    // One labeler, whose answers are known and shown in both orders.
    const alone = (right: number, wrong: number) => {
      const answers = [...new Array<number>(right).fill(1), ...new Array<number>(wrong).fill(0)];
      const votes = answers.map(
        (first, pair): Vote => ({ pair, task: pair, labeler: 0, firstShownLeft: pair % 2 === 0, first }),
      );
      const known = new Map(answers.map((_, pair) => [pair, 1]));
      return estimateReliability(votes, { pairs: answers.length, labelers: 1 }, known)
        .labelers[0] as LabelerReliability;
    };
    expect(alone(0, 0)).toMatchObject({ accuracy: expect.closeTo(2 / 3, 9), high: 1 });
    // Of 40 answers that are known with 95 % each: a few may be wrong, so it is a little less than (4 + 40)/46.
    expect(alone(40, 0).accuracy).toBeGreaterThan(0.93);
    expect(alone(0, 40).accuracy).toBeLessThan(0.12);
    expect(alone(0, 40).high).toBeLessThan(0.3);
    const tie = estimateReliability([{ pair: 0, task: 0, labeler: 0, firstShownLeft: true, first: 0.5 }], {
      pairs: 1,
      labelers: 1,
    });
    expect(tie.first[0]).toBeCloseTo(0.5, 9);
  });

  it("weighs people as unproven until their judgements show less", () => {
    const weight = (accuracy: number, high: number) => trainingWeight({ accuracy, high });
    expect(weight(2 / 3, 1)).toBeCloseTo(1 / 3, 12);
    expect(weight(0.9, 1)).toBeCloseTo(0.8, 12);
    expect(weight(0.4, 0.8)).toBeCloseTo(1 / 3, 12);
    expect([weight(0.5, 0.6), weight(0.2, 0.3), weight(1, 1)]).toEqual([0, 0, 1]);
    expect(weight(0.6, 0.66)).toBeCloseTo(0.2, 12);
  });
});
