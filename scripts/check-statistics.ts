// npm run check:statistics [-- --tables 1000]: computes every statistic on random tables, with gaps, ties, one category, one
// labeler and weights of 0, here and in Python (bench/peers/statistics.py), and prints the largest difference of each.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { here, python } from "../bench/process.ts";
import type { Group } from "../src/batch/groups.ts";
import { formatTable } from "../src/cli/terminal.ts";
import { calibrate } from "../src/constitution/calibrate.ts";
import { distinct } from "../src/eval/evaluate.ts";
import { rewardReport } from "../src/stages/reward/evaluate.ts";
import {
  fleissKappa,
  kendallTau,
  krippendorffAlpha,
  lowAgreementPValue,
  pairwiseKappas,
  type Scale,
  scales,
} from "../src/statistics/agreement.ts";
import { bootstrap, shareInterval } from "../src/statistics/bootstrap.ts";
import { calibration } from "../src/statistics/calibration.ts";
import { mean } from "../src/statistics/numbers.ts";
import { normal, uniform } from "../src/statistics/random.ts";
import {
  dawidSkene,
  estimateReliability,
  labelerAccuracy,
  type Vote,
} from "../src/statistics/reliability.ts";

/** Numbers of a statistic on one input; null where it is undefined. */
type Values = (number | null)[];

interface Case {
  input: unknown;
  ours: Values;
  /** What differences are divided by. Default: 1 */
  unit?: number;
}

interface Check {
  statistic: string;
  /** Largest difference that is allowed, and why it is not rounding. */
  tolerance: number;
  why?: string;
  /** Makes an input, with what we compute on it. */
  draw: (next: () => number, index: number) => Case;
}

const { values } = parseArgs({ options: { tables: { type: "string", default: "1000" } } });
const tables = Number(values.tables);

const whole = (next: () => number, from: number, to: number): number =>
  from + Math.floor(next() * (to - from + 1));
const times = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
const orNull = (value: number | string | undefined): number | null =>
  typeof value === "number" && !Number.isNaN(value) ? value : null;

/** A table of ratings: a row an item, a column a labeler, null where there is none. */
function drawTable(next: () => number, index: number, labels: readonly number[]): (number | null)[][] {
  const [labelers, items] = [index % 40 === 3 ? 1 : whole(next, 2, 6), whole(next, 1, 20)];
  const skill = times(labelers, next);
  const gaps = index % 3 ? next() * 0.6 : 0;
  const some = () => labels[whole(next, 0, labels.length - 1)] as number;
  return times(items, () => {
    const truth = index % 50 === 1 ? (labels[0] as number) : some();
    return skill.map((p) => {
      if (next() < gaps) return null;
      return index % 50 === 1 || next() < p ? truth : some();
    });
  });
}

/** Labels of a scale: consecutive, or apart; those of the ratio scale are not negative. */
function drawLabels(next: () => number, scale: Scale): number[] {
  const count = whole(next, 2, 6);
  const lowest = scale === "ratio" ? 0 : -20;
  const labels = next() < 0.5 ? times(count, (i) => i) : times(count, () => whole(next, lowest, 60));
  return [...new Set(labels)].sort((a, b) => a - b);
}

const countsOf = (table: (number | null)[][], labels: readonly number[]): number[][] =>
  table.map((row) => labels.map((label) => row.filter((rating) => rating === label).length));

const alpha = (scale: Scale): Check => ({
  statistic: `Krippendorff's α, ${scale}`,
  tolerance: 1e-9,
  draw(next, index) {
    const labels = drawLabels(next, scale);
    const ratings = drawTable(next, index, labels);
    return {
      input: { ratings, scale },
      ours: [orNull(krippendorffAlpha(countsOf(ratings, labels), labels, scale))],
    };
  },
});

const kappa = (scale: Scale): Check => ({
  statistic: `Cohen's κ, ${scale}${scale === "nominal" ? "" : ", and its p-value of 0.5"}`,
  tolerance: 1e-9,
  draw(next, index) {
    const labels = drawLabels(next, scale);
    const ratings = drawTable(next, index, labels);
    const rows = ratings.map(
      (row) =>
        new Map(
          row.flatMap((rating, k) => (rating === null ? [] : [[`l${k}`, labels.indexOf(rating)] as const])),
        ),
    );
    const pair = pairwiseKappas(rows, labels, scale).find(({ a, b }) => a === "l0" && b === "l1");
    const ours = [orNull(pair?.kappa), pair?.kappa === undefined ? null : lowAgreementPValue(pair)];
    const input = ratings.flatMap(([a = null, b = null]) => (a === null || b === null ? [] : [[a, b]]));
    return { input: { pairs: input, scale }, ours };
  },
});

const fleiss: Check = {
  statistic: "Fleiss' κ",
  tolerance: 1e-9,
  draw(next, index) {
    const labels = drawLabels(next, "nominal");
    const counts = countsOf(drawTable(next, index, labels), labels);
    return { input: counts, ours: [orNull(fleissKappa(counts))] };
  },
};

const tau: Check = {
  statistic: "Kendall's τ-b",
  tolerance: 1e-9,
  draw(next) {
    const [items, places] = [whole(next, 1, 9), whole(next, 1, 9)];
    const [a, b] = times(2, () => times(items, () => whole(next, 1, places))) as [number[], number[]];
    return { input: [a, b], ours: [orNull(kendallTau(a, b))] };
  },
};

const share: Check = {
  statistic: "Wilson's interval over clusters",
  tolerance: 1e-6,
  why: "the normal quantile has seven digits",
  draw(next, index) {
    const clusters = times(whole(next, 5, 60), () => {
      const total = next() < 0.1 ? 0 : whole(next, 1, 20) * (index % 2 ? next() : 1);
      return { total, wins: index % 20 ? total * next() : total };
    });
    const { value, low, high } = shareInterval(clusters);
    return { input: clusters, ours: [value, low, high].map(orNull) };
  },
};

/** Ratings by labelers of different accuracy. */
function drawRatings(next: () => number): {
  rows: { item: number; labeler: number; label: number }[];
  sizes: { items: number; labelers: number; classes: number };
} {
  const sizes = { items: whole(next, 3, 60), labelers: whole(next, 1, 6), classes: whole(next, 2, 5) };
  const accuracy = times(sizes.labelers, () => 0.3 + 0.7 * next());
  const rows = times(sizes.items, (item) => {
    const truth = whole(next, 0, sizes.classes - 1);
    return times(sizes.labelers, (labeler) => ({
      item,
      labeler,
      label: next() < (accuracy[labeler] as number) ? truth : whole(next, 0, sizes.classes - 1),
    })).filter(({ labeler }) => labeler === item % sizes.labelers || next() < 0.7);
  }).flat();
  return { rows, sizes };
}

const dawidAndSkene: Check = {
  statistic: "Dawid and Skene's posteriors",
  tolerance: 1e-6,
  why: "rounding grows where two classes are alike, at a saddle point of the likelihood",
  draw(next) {
    const { rows, sizes } = drawRatings(next);
    const smoothing = next() < 0.5 ? 0.5 : 0.1;
    const { posteriors, trace } = dawidSkene(rows, sizes, { smoothing });
    return { input: { rows, sizes, smoothing, steps: trace.length }, ours: posteriors.flat() };
  },
};

const accuracyOfLabelers: Check = {
  statistic: "accuracy of labelers",
  tolerance: 1e-6,
  why: "as above",
  draw(next) {
    const { rows, sizes } = drawRatings(next);
    const ours = labelerAccuracy(
      rows.map(({ item, labeler, label }) => ({ item: `${item}`, labeler: `${labeler}`, label: `${label}` })),
    );
    const classes = new Set(rows.map(({ label }) => label));
    const { trace } = dawidSkene(
      rows.map((row) => ({ ...row, label: [...classes].indexOf(row.label) })),
      { ...sizes, classes: classes.size },
      { smoothing: 1 / classes.size ** 2 },
    );
    return {
      input: { rows, sizes, steps: trace.length },
      ours: times(sizes.labelers, (k) => ours[k] ?? null),
    };
  },
};

const reliability: Check = {
  statistic: "reliability: posteriors, and the highest log-posterior",
  tolerance: 1e-6,
  why: "the reference climbs on from our maximum by BFGS; ours stops where a step gains a part in 10⁹",
  draw(next) {
    const [pairs, labelers] = [whole(next, 5, 60), whole(next, 2, 6)];
    const accuracy = times(labelers, () => 0.3 + 0.7 * next());
    const votes = times(pairs, (pair) => {
      const truth = next() < 0.5;
      return times(labelers, (labeler): Vote => {
        const isRight = next() < (accuracy[labeler] as number);
        const first = next() < 0.1 ? 0.5 : Number(isRight === truth);
        return { pair, labeler, task: pair, firstShownLeft: next() < 0.5, first };
      }).filter(() => next() < 0.6);
    }).flat();
    const known = new Map(
      times(pairs, (pair) => [pair, Number(next() < 0.5)] as const).filter(() => next() < 0.1),
    );
    const found = estimateReliability(votes, { pairs, labelers }, known);
    const sides = found.labelers.map(({ accuracy, leftBias }) => [
      accuracy + leftBias / 2,
      accuracy - leftBias / 2,
    ]);
    return {
      input: { votes, pairs, known: [...known], sides },
      ours: [found.trace.at(-1) as number, ...found.first],
    };
  },
};

const weighted = (next: () => number) => {
  const margins = times(whole(next, 1, 80), () => (next() < 0.1 ? 0 : 3 * normal(next)));
  return { margins, weights: margins.map(() => (next() < 0.2 ? 0 : next())) };
};

const ece: Check = {
  statistic: "expected calibration error, weighted",
  tolerance: 1e-12,
  draw(next) {
    const { margins, weights } = weighted(next);
    return { input: { margins, weights }, ours: [calibration(margins, weights).ece] };
  },
};

const rewardModel: Check = {
  statistic: "a reward model's accuracy, margin, ECE and baseline",
  tolerance: 1e-12,
  draw(next) {
    const prompts = times(whole(next, 1, 12), () => {
      const rows = times(whole(next, 2, 5), () => ({
        length: whole(next, 1, 9),
        score: whole(next, -4, 4) / 2,
      }));
      const pairs = rows.flatMap((_, better) =>
        rows.slice(better + 1).map((_, i) => ({
          better,
          worse: better + 1 + i,
          weight: 0.05 + next(),
          probability: next() < 0.3 ? next() : 1,
        })),
      );
      return { rows, pairs };
    });
    const groups = prompts.map(
      ({ rows, pairs }): Group => ({
        prompt: [],
        rows: rows.map(({ length }) => ({
          promptTokens: [],
          tokens: new Array<number>(length).fill(0),
        })) as never,
        pairs: pairs.map((pair) => ({ ...pair, margin: 0, strength: 1 })),
      }),
    );
    const { metrics } = rewardReport(
      groups,
      prompts.map(({ rows }) => rows.map(({ score }) => score)),
    );
    const names = ["eval_accuracy", "eval_margin", "calibration/ece", "eval_longer_wins"] as const;
    return { input: prompts, ours: names.map((name) => metrics[name] as number) };
  },
};

const scale: Check = {
  statistic: "calibrating factor, as a share",
  tolerance: 1e-6,
  why: "the reference's minimiser stops at a relative step of about 10⁻⁸",
  draw(next) {
    const odds = times(whole(next, 1, 60), () => (next() < 0.05 ? 0 : 2 * normal(next)));
    const bias = 2 * normal(next);
    const right = odds.map((value) => next() < 1 / (1 + Math.exp(-bias * value)));
    const user = (i: number) => [{ role: "user" as const, content: String(i) }];
    const found = calibrate(
      odds.map((logOdds, i) => ({ prompt: user(i), answers: ["a", "b"], verdicts: [], logOdds })),
      right.map((first, i) => ({
        prompt: user(i),
        completions: ["a", "b"],
        ranks: first ? [1, 2] : [2, 1],
      })),
    );
    const factor = found?.scale as number;
    return { input: odds.map((value, i) => (right[i] ? value : -value)), ours: [factor / (1 + factor)] };
  },
};

const interval: Check = {
  statistic: "jackknife interval of a ratio, in standard errors",
  tolerance: 1e-6,
  why: "as above",
  draw(next) {
    const clusters = times(whole(next, 5, 60), () => [whole(next, 1, 9) * next(), whole(next, 1, 9)]);
    const ratio = (sample: readonly number[][]) =>
      sample.reduce((sum, [a]) => sum + (a as number), 0) /
      sample.reduce((sum, [, b]) => sum + (b as number), 0);
    const { value, low, high } = bootstrap(clusters, ratio);
    return { input: clusters, ours: [value, low, high], unit: (high - low) / 4 };
  },
};

const percentiles: Check = {
  statistic: "bootstrap interval of a mean, in standard errors",
  tolerance: 0.45,
  why: "5 standard deviations of a quantile's difference between two times 2,000 resamples (0.06 · √2)",
  draw(next) {
    const sample = times(200, () => Math.exp(normal(next)));
    const { low, high } = bootstrap(sample, mean, whole(next, 0, 1e6));
    return { input: sample, ours: [low, high], unit: (high - low) / 4 };
  },
};

const distinctGrams: Check = {
  statistic: "distinct-1 and distinct-2",
  tolerance: 1e-12,
  draw(next) {
    const texts = times(whole(next, 1, 8), () =>
      times(whole(next, 0, 9), () => `w${whole(next, 0, 9)}`).join(" "),
    );
    return { input: texts, ours: [distinct(texts, 1), distinct(texts, 2)] };
  },
};

const checks: readonly Check[] = [
  ...scales.map(alpha),
  ...scales.map(kappa),
  ...[fleiss, tau, share, dawidAndSkene, accuracyOfLabelers, reliability, ece, rewardModel, scale],
  ...[interval, percentiles, distinctGrams],
];

const drawn = checks.map(({ statistic, draw }, c) => {
  const next = uniform(c + 1);
  // Resampling and searching for the maximum take the longest.
  const count = [percentiles, reliability].some((slow) => slow.statistic === statistic)
    ? Math.ceil(tables / 10)
    : tables;
  return { statistic, cases: times(count, (i) => draw(next, i)) };
});
const folder = mkdtempSync(join(tmpdir(), "statistics-"));
const file = join(folder, "inputs.json");
writeFileSync(
  file,
  JSON.stringify(
    drawn.map(({ statistic, cases }) => ({ statistic, inputs: cases.map(({ input }) => input) })),
  ),
);
const { status, stdout } = spawnSync(
  python("statistics"),
  [here("../bench/peers/statistics_reference.py"), file],
  { encoding: "utf8", maxBuffer: 1e9, stdio: ["ignore", "pipe", "inherit"] },
);
rmSync(folder, { recursive: true });
if (status !== 0) throw new Error("the reference failed");
const theirs = JSON.parse(stdout) as Values[][];

const rows = checks.map(({ statistic, tolerance, why = "" }, c) => {
  const cases = drawn[c]?.cases ?? [];
  let [largest, undefinedCases] = [0, 0];
  for (const [i, { ours, unit = 1 }] of cases.entries())
    for (const [j, value] of ours.entries()) {
      const expected = theirs[c]?.[i]?.[j] ?? null;
      if (value === null) undefinedCases++;
      const difference =
        value === null || expected === null
          ? value === expected
            ? 0
            : Infinity
          : Math.abs(value - expected) / unit;
      if (difference > tolerance && largest <= tolerance)
        console.error(`${statistic}, table ${i}: ${value} here, ${expected} there`);
      largest = Math.max(largest, difference);
    }
  if (largest > tolerance) process.exitCode = 1;
  return [
    statistic,
    String(cases.length),
    String(undefinedCases),
    largest.toExponential(1),
    `${tolerance}`,
    why,
  ];
});
console.log(
  formatTable([
    ["statistic", "tables", "undefined in both", "largest difference", "allowed", "why"],
    ...rows,
  ]),
);
