import { describe, expect, it } from "vitest";
import { goldenJson } from "../../test/golden.ts";
import {
  cohenKappa,
  fleissKappa,
  kendallTau,
  krippendorffAlpha,
  lowAgreementPValue,
  measureAgreement,
  type Scale,
  scales,
} from "./agreement.ts";
import { estimate, estimateFromCounts, winRate } from "./estimate.ts";
import { uniform } from "./random.ts";

interface Table {
  /** A row a labeler, a character an item; "." is missing. */
  ratings: string[];
  categories: number;
  alpha: (number | null)[];
  cohen: (number | null)[];
  fleiss: number | null;
  tau: number | null;
}
// Expected values: test/golden/make_agreement.py, from krippendorff, scikit-learn, statsmodels and scipy; written with 12
// digits, and both sides compute in float64: 1e-9.
const tables = goldenJson("agreement.json").tables as Table[];
const near = (value: number | null) => (value === null ? undefined : expect.closeTo(value, 9));
const number = (value: number | string) => (typeof value === "string" ? undefined : value);

const itemsOf = ({ ratings }: Table) =>
  Array.from({ length: ratings[0]?.length ?? 0 }, (_, item) =>
    ratings.flatMap((row) => (row[item] === "." ? [] : [Number(row[item])])),
  );
const countsOf = (table: Table) =>
  itemsOf(table).map((ratings) =>
    Array.from({ length: table.categories }, (_, c) => ratings.filter((rating) => rating === c).length),
  );

describe("agreement of 1,000 random tables, with gaps and degenerate ones", () => {
  it("has every kind of table", () => {
    expect(tables).toHaveLength(1000);
    for (const of of [
      ({ alpha }: Table) => alpha[0],
      ({ cohen }: Table) => cohen[0],
      ({ fleiss }: Table) => fleiss,
    ])
      expect(tables.filter((table) => of(table) === null).length).toBeGreaterThan(20);
    expect(tables.filter(({ ratings }) => ratings.join("").includes(".")).length).toBeGreaterThan(300);
  });

  it.each(scales)("Krippendorff's α, %s, equals krippendorff's", (scale) => {
    const place = scales.indexOf(scale);
    for (const table of tables) {
      const values = Array.from({ length: table.categories }, (_, c) => c + 1);
      const found = number(krippendorffAlpha(countsOf(table), values, scale));
      expect(found, JSON.stringify(table)).toEqual(near(table.alpha[place] as number | null));
    }
  });

  // scikit-learn's unweighted κ, linear and quadratic weights.
  it.each(["nominal", "ordinal", "interval"] as const)("Cohen's κ, %s, equals scikit-learn's", (scale) => {
    for (const table of tables) {
      const [first, second] = table.ratings as [string, string];
      const both = [...first].flatMap((a, i) => (a === "." || second[i] === "." ? [] : [i]));
      const [a, b] = [first, second].map((row) => both.map((i) => Number(row[i]))) as [number[], number[]];
      const values = Array.from({ length: table.categories }, (_, c) => c);
      const { kappa, reason } = cohenKappa(a, b, values, scale);
      const expected = table.cohen[scales.indexOf(scale)] as number | null;
      expect(kappa, JSON.stringify(table)).toEqual(near(expected));
      expect(reason === undefined).toBe(kappa !== undefined);
    }
  });

  it("Fleiss' κ equals statsmodels'", () => {
    for (const table of tables)
      expect(number(fleissKappa(countsOf(table))), JSON.stringify(table)).toEqual(near(table.fleiss));
  });

  it("Kendall's τ-b equals scipy's", () => {
    for (const table of tables) {
      const [first, second] = table.ratings as [string, string];
      const both = [...first].flatMap((a, i) => (a === "." || second[i] === "." ? [] : [i]));
      const [a, b] = [first, second].map((row) => both.map((i) => Number(row[i]))) as [number[], number[]];
      expect(number(kendallTau(a, b)), JSON.stringify(table)).toEqual(near(table.tau));
    }
  });
});

describe("known answers", () => {
  /** A row a labeler; * is missing. Values from fast-krippendorff's documentation. */
  const alpha = (rows: string[], scale: Scale) => {
    const cells = rows.map((row) => row.split(/\s+/));
    const values = [
      ...new Set(
        cells
          .flat()
          .filter((cell) => cell !== "*")
          .map(Number),
      ),
    ].sort((a, b) => a - b);
    const counts = (cells[0] as string[]).map((_, item) =>
      values.map((value) => cells.filter((row) => row[item] === String(value)).length),
    );
    return krippendorffAlpha(counts, values, scale);
  };
  const first = [
    "* * * * * 3 4 1 2 1 1 3 3 * 3",
    "1 * 2 1 3 3 4 3 * * * * * * *",
    "* * 2 1 3 4 4 * 2 1 1 3 3 * 4",
  ];
  const second = [
    "1 2 3 3 2 1 4 1 2 * * *",
    "1 2 3 3 2 2 4 1 2 5 * 3",
    "* 3 3 3 2 3 4 2 2 5 1 *",
    "1 2 3 3 2 4 4 1 2 5 1 *",
  ];
  it.each([
    [first, "nominal", 0.691358, 6],
    [first, "interval", 0.810845, 6],
    [second, "ordinal", 0.815, 3],
    [second, "nominal", 0.743, 3],
    [second, "ratio", 0.797, 3],
  ] as const)("α %#", (rows, scale, expected, digits) => {
    expect(alpha([...rows], scale)).toBeCloseTo(expected, digits);
  });
});

describe("an agreement's summary", () => {
  const parseLabels = (text: string) =>
    text
      .trim()
      .split("\n")
      .map((line) => {
        const [item, labeler, label] = line.trim().split(" ") as [string, string, string];
        return { item, labeler, label };
      });

  it("names the pair and the items that disagree, and warns", () => {
    const rows = Array.from({ length: 20 }, (_, i) => {
      const truth = i % 2 ? "yes" : "no";
      const other = i % 2 ? "no" : "yes";
      return `i${i} ann ${truth}\ni${i} bob ${truth}\ni${i} cat ${i % 3 ? other : truth}`;
    });
    const summary = measureAgreement(parseLabels(rows.join("\n")), "nominal");
    expect(summary).toMatchObject({ items: 20, labelers: 3, ratings: 60, rated: 20 });
    expect(summary.pairs.map(({ a, b }) => `${a} ${b}`).at(-1)).toBe("ann bob");
    expect(summary.pairs.at(-1)?.kappa).toBe(1);
    expect(summary.worst).toHaveLength(13);
    expect(summary.worst[0]?.labels.join()).toMatch(/ann: .*bob: .*cat: /);
    expect(summary.alert).toMatch(/^Labelers agree little/);
    expect(summary.alert).toMatch(
      /\. These pairs disagree more than chance explains: (ann|bob) and cat \(alike on 35 % of 20\), (ann|bob) and cat \(alike on 35 % of 20\)$/,
    );
    const { value } = summary.alpha;
    expect(value && value.low < value.value && value.value < value.high).toBe(true);
  });

  it("computes the p-value of a low agreement", () => {
    // Binomial probabilities of at most so many of n at 0.75, which is κ = 0.5 where chance is 0.5; as fractions.
    const two = { a: "a", b: "b", expected: 0.5, marginals: [[], []] as [number[], number[]], kappa: 0 };
    const known: [equal: number, items: number, probability: number][] = [
      [0, 3, 0.015625],
      [0, 4, 0.00390625],
      [7, 20, 0.00018370405814494006],
      [60, 100, 0.0006865922079629911],
      [70, 100, 0.14954104656657347],
    ];
    for (const [equal, items, probability] of known)
      expect(lowAgreementPValue({ ...two, observed: equal / items, items })).toBeCloseTo(probability, 12);
  });

  it("computes weighted κ from values, and from the labels of the two alone", () => {
    // By hand in fractions. Interval: D_o = 1/3, D_e = 39,604/9, as scikit-learn's cohen_kappa_score with labels=range(101) and
    // quadratic weights; ordinal: 1/3, 8/9; ratio: 1/3, 60,406/91,809.
    const [a, b] = [
      [0, 1, 100, 0, 1, 100],
      [0, 1, 100, 1, 0, 100],
    ] as [number[], number[]];
    const rate = (labeler: string, labels: readonly number[], prefix = "i") =>
      labels.map((label, i) => ({ item: `${prefix}${i}`, labeler, label }));
    const rows = [...rate("a", a), ...rate("b", b)];
    const others = [...rate("c", [2, 3, 50, 7], "j"), ...rate("d", [3, 3, 60, 8], "j")];
    const pairOf = (ratings: typeof rows, scale: Scale) =>
      measureAgreement(ratings, scale).pairs.find((pair) => pair.a === "a");
    for (const scale of ["ordinal", "interval", "ratio"] as const) {
      const pair = pairOf(rows, scale);
      expect(pairOf([...rows, ...others], scale)).toEqual(pair);
      expect(pair?.observed).toBeCloseTo(4 / 6, 12);
      expect(pair?.expected).toBeCloseTo(1 / 3, 12);
    }
    expect(pairOf(rows, "interval")?.kappa).toBeCloseTo(39_601 / 39_604, 12);
    expect(pairOf(rows, "ordinal")?.kappa).toBeCloseTo(5 / 8, 12);
    expect(pairOf(rows, "ratio")?.kappa).toBeCloseTo(29_803 / 60_406, 12);
  });

  it("names random raters on every scale, and none who agree in all but the last digit", () => {
    const random = uniform(7);
    const named = (label: () => [number, number], scale: Scale) =>
      Array.from({ length: 200 }, () => {
        const ratings = Array.from({ length: 40 }, (_, item) => {
          const [a, b] = label();
          return [
            { item: String(item), labeler: "a", label: a },
            { item: String(item), labeler: "b", label: b },
          ];
        });
        return measureAgreement(ratings.flat(), scale).alert?.includes("more than chance explains") ?? false;
      }).filter(Boolean).length;
    // Measured: 100, 99, 76 and 85 % by scale. With a binomial of the weighted agreement the last two were 21 and 20 %.
    const die = () => 1 + Math.floor(5 * random());
    for (const scale of scales) expect(named(() => [die(), die()], scale)).toBeGreaterThan(140);
    // Of 100 values, 4 apart at most: the weighted κ is above 0.9, and labels are equal on one item in nine.
    const near = (): [number, number] => {
      const value = 5 + Math.floor(90 * random());
      return [value, value + Math.floor(9 * random()) - 4];
    };
    for (const scale of ["ordinal", "interval"] as const) expect(named(near, scale)).toBe(0);
  });

  it("warns of no pair with few common items, and rarely of one that agrees like the others", () => {
    const few = measureAgreement(parseLabels("a x 1\na y 2\nb x 2\nb y 1\nc x 1\nc y 2"), "nominal");
    expect(few.alert).toBeUndefined();
    // Each says the truth of two labels with probability (1 + √½) / 2, so every two agree with κ = 0.5.
    const random = uniform(1);
    const alarms = Array.from({ length: 200 }, () => {
      const ratings = Array.from({ length: 40 }, (_, item) => {
        const truth = random() < 0.5;
        return ["a", "b", "c", "d"].map((labeler) => ({
          item: String(item),
          labeler,
          label: Number(random() < (1 + Math.SQRT1_2) / 2 === truth),
        }));
      });
      return (
        measureAgreement(ratings.flat(), "nominal").alert?.includes("more than chance explains") ?? false
      );
    });
    // One of a hundred at most: 2, and four standard deviations more.
    expect(alarms.filter(Boolean).length).toBeLessThan(8);
  });

  it("gives the reason if there is no number", () => {
    expect(measureAgreement(parseLabels("a x 1\nb y 1"), "nominal").alpha).toEqual({
      reason: "no item has two ratings",
    });
    const same = measureAgreement(parseLabels("a x 1\na y 1\nb x 1\nb y 1"), "nominal");
    expect(same.alpha).toEqual({ reason: "every rating is the same" });
    expect(same.pairs[0]).toMatchObject({
      reason: expect.stringMatching(/one and the same label/),
      observed: 1,
    });
    expect(
      measureAgreement(parseLabels("a x 1\na y 1\nb x 1\nb y 1\nb z 2"), "nominal").fleiss.reason,
    ).toMatch(/same number/);
  });

  it("gives a share Wilson's interval of the effective number of comparisons", () => {
    // By hand: ten tasks, a variance of (10/9) · 1.6 / 100, so 9 effective comparisons, times (1.96 / t₉)²: 6.756; and
    // Wilson's formula for 0.8 of so many (statsmodels' proportion_confint).
    const { value } = winRate([1, 1, undefined, 1, 1, 1, 1, 1, 1, 0, 0].map((win) => [win]));
    expect(value).toEqual({
      value: 0.8,
      low: expect.closeTo(0.427, 3),
      high: expect.closeTo(0.9555, 4),
    });
    // A hundred comparisons of one task are no more than one.
    const many = winRate([1, 1, 1, 1, 1, 1, 1, 1, 0, 0].map((win) => new Array(100).fill(win)));
    expect(many).toEqual({ value });
    expect(winRate([[undefined]])).toEqual({ reason: "no comparison yet" });
    expect(winRate([[1, 1, 1, 0, 1, 1], [1]])).toEqual({
      reason: "too few to say: it needs 5 tasks, and has 2",
    });
  });

  it("is not certain of an agreement that it never saw broken", () => {
    const all = (items: number) =>
      estimate(
        Array.from({ length: items }, (_, i) => (i % 2 ? [2, 0] : [0, 2])),
        () => 1,
      );
    expect(all(4)).toEqual({ reason: "too few to say: it needs 5 tasks, and has 4" });
    const rows = Array.from({ length: 20 }, (_, i) => (i % 2 ? [2, 0] : [0, 2]));
    const { value } = estimateFromCounts(rows, (rows, times) =>
      krippendorffAlpha(rows, [0, 1], "nominal", times),
    );
    // 16.8 % of tasks may disagree (Clopper and Pearson's bound of 0 of 20), where chance is one half.
    expect(value?.value).toBe(1);
    expect(value?.low).toBeCloseTo(1 - 2 * (1 - 0.025 ** (1 / 20)), 1);
  });

  it("takes tasks, not pairs, for what is independent", () => {
    // Eight tasks of 36 equal pairs each: one more copy of each pair must not narrow the interval.
    const task = (t: number) => (t < 2 ? [1, 1] : t % 2 ? [2, 0] : [0, 2]);
    const width = (copies: number) => {
      const rows = Array.from({ length: 8 }, (_, t) => new Array<number[]>(copies).fill(task(t))).flat();
      const clusters = Array.from({ length: 8 }, (_, t) => new Array<number>(copies).fill(t)).flat();
      const { value } = estimateFromCounts(
        rows,
        (rows, times) => krippendorffAlpha(rows, [0, 1], "nominal", times),
        clusters,
      );
      return (value?.high as number) - (value?.low as number);
    };
    expect(width(36)).toBeGreaterThan(0.9 * width(1));
  });

  it("has intervals of the nominal coverage", () => {
    // Two who each say the truth with probability 0.9 of two labels agree with κ = 0.64.
    let held = 0;
    let state = 1;
    const random = () => {
      state = (state * 48271) % 2147483647;
      return state / 2147483647;
    };
    for (let trial = 0; trial < 100; trial++) {
      const counts = Array.from({ length: 150 }, () => {
        const truth = Number(random() < 0.5);
        const says = () => (random() < 0.9 ? truth : 1 - truth);
        const [a, b] = [says(), says()];
        return [2 - a - b, a + b];
      });
      const { value } = estimate(counts, (sample) => krippendorffAlpha(sample, [0, 1], "nominal"));
      if (value && value.low <= 0.64 && 0.64 <= value.high) held++;
    }
    // 95 of 100 within four standard deviations; an interval of half the width would hold 67.
    expect(held).toBeGreaterThan(86);
  });
});
