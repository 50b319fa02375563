import { describe, expect, it } from "vitest";
import { comparisonReport, comparisonTable, standings, type Trial } from "./compare.ts";

const trial = (optimiser: string, seed: number, golds: number[], more: Partial<Trial> = {}): Trial => ({
  optimiser,
  seed,
  golds,
  before: [0, 1, 0.5],
  seconds: 10,
  gb: 2,
  responses: 100,
  kl: 1,
  length: 5,
  finished: 1,
  ...more,
});
const trials = [
  trial("a", 0, [0.5, 1, 0.5], { seconds: 10, gb: 2 }),
  trial("a", 1, [0.5, 1, 1], { seconds: 30, gb: 3 }),
  trial("b", 0, [1, 1, 1], { gb: undefined }),
];

describe("optimisers side by side", () => {
  it("are averaged over seeds for each instruction, best first", () => {
    const [b, a] = standings(trials);
    expect([b?.optimiser, a?.optimiser]).toEqual(["b", "a"]);
    expect(a?.gold.value).toBeCloseTo((0.5 + 1 + 0.75) / 3, 12);
    expect(a?.gain.value).toBeCloseTo((0.5 + 0 + 0.25) / 3, 12);
    expect(a?.gains).toEqual([0.5 / 3, 1 / 3]);
    expect(a).toMatchObject({ seeds: 2, seconds: 20, gb: 3 });
    expect(b?.gb).toBeUndefined();
    // Three instructions are too few for an interval.
    expect([b?.gold.low, b?.gold.high]).toEqual([Number.NaN, Number.NaN]);
  });

  it("have a table and a page of everything", () => {
    const [header = [], ...rows] = comparisonTable(standings(trials));
    for (const row of rows) expect(row).toHaveLength(header.length);
    expect(rows[0]?.[1]).toBe("1.000 [too few to say]");
    const { charts } = comparisonReport(trials, "");
    expect(charts.map(({ series }) => series.map(({ points }) => points.length))).toEqual([
      [1, 2],
      [1, 2],
      [0, 2],
    ]);
  });
});
