import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { uniform } from "../statistics/random.ts";
import { bradleyTerry, type Match } from "./bradley-terry.ts";

/** Matches of a table of counts: how often the row's name won against the column's. */
const fromCounts = (names: readonly string[], counts: readonly (readonly number[])[]): Match[] =>
  names.flatMap((first, i) =>
    names.flatMap((second, j) =>
      i === j || !counts[i]?.[j] ? [] : [{ first, second, outcome: 1, weight: counts[i][j] as number }],
    ),
  );

interface ArenaRank {
  pairs: [number, number][];
  outcomes: number[];
  style?: number[][];
  /** Log-abilities and the ends of their 95 % intervals. */
  ratings: number[];
  low: number[];
  high: number[];
  coefficients?: number[];
}

// test/golden/make_arena_rank.py
const { plain, styled } = JSON.parse(
  readFileSync(new URL("../../test/golden/arena-rank.json", import.meta.url), "utf8"),
) as Record<"plain" | "styled", ArenaRank[]>;

const rate = ({ pairs, outcomes, style }: ArenaRank) =>
  bradleyTerry(
    pairs.map(([first, second], i) => ({
      first: String(first),
      second: String(second),
      outcome: outcomes[i] as number,
      ...(style && { style: style[i] as number[] }),
    })),
  );

describe("Bradley-Terry ratings", () => {
  it.each(plain)("have arena-rank's values and intervals", (golden) => {
    const { ratings } = rate(golden);
    for (const [i, value] of golden.ratings.entries()) {
      const found = ratings.get(String(i));
      // Its ridge, 1e-5 times the number of matches, is in the intervals alone; ours of 1e-5 is in both.
      expect(found?.value).toBeCloseTo(value, 6);
      expect(found?.low).toBeCloseTo(golden.low[i] as number, 4);
      expect(found?.high).toBeCloseTo(golden.high[i] as number, 4);
    }
  });

  it.each(styled)("at equal style have arena-rank's values and intervals", (golden) => {
    const { ratings, style } = rate(golden);
    for (const [i, value] of golden.ratings.entries()) {
      const found = ratings.get(String(i));
      expect(found?.value).toBeCloseTo(value, 6);
      // Its Hessian leaves out the penalty on style, which changes the width by less than 1 %.
      const width = (golden.high[i] as number) - (golden.low[i] as number);
      expect(Math.abs(((found?.high as number) - (found?.low as number)) / width - 1)).toBeLessThan(0.01);
    }
    for (const [i, value] of (golden.coefficients as number[]).entries())
      expect(style[i]?.value).toBeCloseTo(value, 6);
  });

  it("are the published ones of citations among statistics journals", () => {
    // Stigler 1994; Agresti, Categorical Data Analysis, table 10.? : rows are cited by columns.
    const names = ["Biometrika", "Comm Statist", "JASA", "JRSS-B"];
    const cited = [
      [714, 730, 498, 221],
      [33, 425, 68, 17],
      [320, 813, 1072, 142],
      [284, 276, 325, 188],
    ];
    const { difference } = bradleyTerry(fromCounts(names, cited));
    const relative = names.map((name) => difference(name, "Biometrika").value);
    // Published to three digits; the ridge of 1e-5 moves them by less than 1e-6.
    for (const [i, value] of [0, -2.949072, -0.47957, 0.268954].entries())
      expect(relative[i]).toBeCloseTo(value, 5);
  });

  it("are those of a worked example", () => {
    const counts = [
      [0, 2, 0, 1],
      [3, 0, 5, 0],
      [0, 3, 0, 1],
      [4, 0, 3, 0],
    ];
    const { ratings } = bradleyTerry(fromCounts(["A", "B", "C", "D"], counts));
    // Wikipedia, "Bradley-Terry model": strengths of geometric mean 1, to three digits.
    for (const [name, strength] of Object.entries({ A: 0.64, B: 1.043, C: 0.66, D: 2.27 }))
      expect(Math.exp(ratings.get(name)?.value as number)).toBeCloseTo(strength, 3);
  });

  it("have intervals that hold the truth, also where matches of a prompt depend on each other", () => {
    const next = uniform(1);
    let covered = 0;
    const runs = 300;
    for (let run = 0; run < runs; run++) {
      const matches = Array.from({ length: 60 }, (_, prompt) => {
        // A prompt's three judges agree with each other.
        const outcome = Number(next() < 1 / (1 + Math.exp(-0.7)));
        return [0, 1, 2].map(() => ({ first: "a", second: "b", outcome, prompt }));
      }).flat();
      const { low, high } = bradleyTerry(matches).difference("a", "b");
      if (low <= 0.7 && 0.7 <= high) covered++;
    }
    // 95 % of 300 runs, give or take three standard errors. As independent matches they would cover some 74 %.
    expect(covered / runs).toBeGreaterThan(0.91);
  });

  it("at equal style tell ability from style", () => {
    const next = uniform(2);
    const matches = Array.from({ length: 4000 }, (): Match => {
      const style = [2 * next() - 1 + 0.5];
      return {
        first: "long",
        second: "short",
        outcome: Number(next() < 1 / (1 + Math.exp(-2 * (style[0] as number)))),
        style,
      };
    });
    const controlled = bradleyTerry(matches);
    const { low, high } = controlled.difference("long", "short");
    expect(low).toBeLessThan(0);
    expect(high).toBeGreaterThan(0);
    expect(controlled.style[0]?.value).toBeCloseTo(2, 0);
    const raw = bradleyTerry(matches.map(({ style: _, ...match }) => match)).difference("long", "short");
    expect(raw.low).toBeGreaterThan(0.5);
  });
});
