import { bootstrap, type Interval } from "./bootstrap.ts";
import { mean } from "./numbers.ts";

// How far labelers agree, on plain numbers. A statistic that is not defined is absent with the reason: never 1, never 0.

export const scales = ["nominal", "ordinal", "interval", "ratio"] as const;
export type Scale = (typeof scales)[number];

/** A statistic with its 95 % interval, or why there is none. */
export interface Estimate {
  value?: Interval;
  reason?: string;
}

export interface Kappa {
  kappa?: number;
  reason?: string;
  /** Share of items on which both say the same; under weights, how much they agree at all. */
  observed: number;
  /** What would be expected of two who say each label as often, at random. */
  expected: number;
  /** Share of each category, by labeler. */
  marginals: [number[], number[]];
  items: number;
}

/**
 * Cohen's κ of two labelers on the same items, (p_o − p_e) / (1 − p_e) (Cohen 1960; with weights 1968).
 * @param a, b places of their labels among `categories` many, in order where weighted
 */
export function cohenKappa(
  a: readonly number[],
  b: readonly number[],
  categories: number,
  weights?: "linear" | "quadratic",
): Kappa {
  const items = a.length;
  const share = (labels: readonly number[]) =>
    Array.from({ length: categories }, (_, c) => labels.filter((label) => label === c).length / items);
  const marginals: [number[], number[]] = [share(a), share(b)];
  const agree = (i: number, j: number): number => {
    if (!weights || categories < 2) return Number(i === j);
    const apart = Math.abs(i - j) / (categories - 1);
    return 1 - (weights === "linear" ? apart : apart * apart);
  };
  const observed = a.reduce((sum, label, i) => sum + agree(label, b[i] as number), 0) / items;
  const expected = marginals[0].reduce(
    (sum, p, i) => sum + marginals[1].reduce((inner, q, j) => inner + p * q * agree(i, j), 0),
    0,
  );
  const found = { observed, expected, marginals, items };
  if (!items) return { ...found, reason: "they have no item in common" };
  if (1 - expected < 1e-12) return { ...found, reason: "both gave one and the same label to everything" };
  return { ...found, kappa: (observed - expected) / (1 - expected) };
}

/**
 * Fleiss' κ (Fleiss 1971).
 * @param counts how often each item (a row) was put in each category @param times how many items are like each row
 * @returns a reason where it is not defined
 */
export function fleissKappa(
  counts: readonly (readonly number[])[],
  times: readonly number[] = counts.map(() => 1),
): number | string {
  const sizes = counts.map((row) => row.reduce((a, b) => a + b, 0));
  const [n = 0] = sizes;
  if (!counts.length || n < 2) return "it needs two ratings of each item";
  if (sizes.some((size) => size !== n)) return "it needs the same number of ratings of each item";
  const items = times.reduce((a, b) => a + b, 0);
  const total = n * items;
  let agreed = 0;
  const sums = new Array<number>(counts[0]?.length ?? 0).fill(0);
  counts.forEach((row, i) => {
    const like = times[i] as number;
    let squares = 0;
    row.forEach((count, c) => {
      squares += count * count;
      sums[c] = (sums[c] as number) + count * like;
    });
    agreed += ((squares - n) / (n * (n - 1))) * like;
  });
  const observed = agreed / items;
  const expected = sums.reduce((sum, count) => sum + (count / total) ** 2, 0);
  return 1 - expected < 1e-12 ? "every rating is the same" : (observed - expected) / (1 - expected);
}

/**
 * Krippendorff's α, 1 − D_o / D_e (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). Ratings may be
 * missing: items with fewer than two say nothing.
 * @param counts how often each item (a row) was given each value @param values of the columns, ascending
 * @param times how many items are like each row @returns a reason where it is not defined
 */
export function krippendorffAlpha(
  counts: readonly (readonly number[])[],
  values: readonly number[],
  scale: Scale,
  times: readonly number[] = counts.map(() => 1),
): number | string {
  const k = values.length;
  const totals = new Array<number>(k).fill(0);
  /** Pairs of ratings within items, by their values, for each item as if it had one rating a pair. */
  const pairs = new Array<number>(k * k).fill(0);
  for (const [i, row] of counts.entries()) {
    const like = times[i] as number;
    let size = 0;
    for (let c = 0; c < k; c++) size += row[c] as number;
    if (size < 2) continue;
    for (let c = 0; c < k; c++) {
      const count = (row[c] as number) * like;
      if (!count) continue;
      totals[c] = (totals[c] as number) + count;
      for (let d = 0; d < k; d++)
        pairs[c * k + d] =
          (pairs[c * k + d] as number) + (count * ((row[d] as number) - Number(c === d))) / (size - 1);
    }
  }
  const n = totals.reduce((a, b) => a + b, 0);
  if (n < 2) return "no item has two ratings";
  const distance = squaredDistance(values, totals, scale);
  let observed = 0;
  let expected = 0;
  for (let c = 0; c < k; c++)
    for (let d = 0; d < k; d++) {
      const apart = distance(c, d);
      observed += (pairs[c * k + d] as number) * apart;
      expected += (totals[c] as number) * ((totals[d] as number) - Number(c === d)) * apart;
    }
  return expected === 0 ? "every rating is the same" : 1 - (observed * (n - 1)) / expected;
}

/** Squared distance of two values by their places. */
function squaredDistance(
  values: readonly number[],
  totals: readonly number[],
  scale: Scale,
): (c: number, d: number) => number {
  const value = (c: number) => values[c] as number;
  if (scale === "nominal") return (c, d) => Number(c !== d);
  if (scale === "interval") return (c, d) => (value(c) - value(d)) ** 2;
  if (scale === "ratio")
    return (c, d) => (c === d ? 0 : ((value(c) - value(d)) / (value(c) + value(d))) ** 2);
  let before = 0;
  const middles = totals.map((count) => {
    before += count;
    return before - count / 2;
  });
  const middle = (c: number) => middles[c] as number;
  return (c, d) => (middle(c) - middle(d)) ** 2;
}

/** Kendall's τ-b of two rankings of the same things (Kendall 1945), or why it is not defined. */
export function kendallTau(a: readonly number[], b: readonly number[]): number | string {
  let [agree, tiesA, tiesB, pairs] = [0, 0, 0, 0];
  for (let i = 0; i < a.length; i++)
    for (let j = 0; j < i; j++) {
      const x = Math.sign((a[i] as number) - (a[j] as number));
      const y = Math.sign((b[i] as number) - (b[j] as number));
      pairs++;
      agree += x * y;
      if (x === 0) tiesA++;
      if (y === 0) tiesB++;
    }
  if (!pairs) return "it needs two things to rank";
  if (tiesA === pairs || tiesB === pairs) return "one ranking is all ties";
  return agree / Math.sqrt((pairs - tiesA) * (pairs - tiesB));
}

/** A statistic of items with its interval. Resamples in which it is not defined are left out. */
export function estimate<T>(
  items: readonly T[],
  statistic: (sample: readonly T[]) => number | string,
): Estimate {
  const whole = statistic(items);
  if (typeof whole === "string") return { reason: whole };
  const resamples = items.length > 2000 ? 200 : 1000;
  const number = (sample: readonly T[]) => {
    const value = statistic(sample);
    return typeof value === "string" ? Number.NaN : value;
  };
  return { value: bootstrap(items, number, 0, resamples) };
}

/** How many values an item has, and their sum. */
export interface CountAndSum {
  count: number;
  sum: number;
}

export const countAndSum = (values: readonly number[]): CountAndSum => ({
  count: values.length,
  sum: values.reduce((a, b) => a + b, 0),
});

/** The mean of all values of items. @param reason why there is none */
export const pooledMean =
  (reason: string) =>
  (items: readonly CountAndSum[]): number | string => {
    let [count, sum] = [0, 0];
    for (const item of items) {
      count += item.count;
      sum += item.sum;
    }
    return count ? sum / count : reason;
  };

/**
 * `estimate` of a statistic of count rows. There are few different ones in thousands of items: the statistic is given each
 * once, and how many items are like it.
 */
export function estimateFromCounts(
  rows: readonly (readonly number[])[],
  statistic: (different: readonly (readonly number[])[], times: readonly number[]) => number | string,
): Estimate {
  const keys = rows.map((row) => row.join());
  const different = [...new Map(rows.map((row, i) => [keys[i], row])).values()];
  const places = new Map(different.map((row, place) => [row.join(), place]));
  return estimate(
    keys.map((key) => places.get(key) as number),
    (sample) => {
      const times = new Array<number>(different.length).fill(0);
      for (const place of sample) times[place] = (times[place] as number) + 1;
      const drawn = (_: unknown, place: number) => times[place] !== 0;
      return statistic(different.filter(drawn), times.filter(drawn));
    },
  );
}

/** The share of wins (1, not 0) among those that are known, with Wilson's interval (1927), which holds for few as well. */
export function winRate(wins: readonly (number | undefined)[]): Estimate {
  const known = wins.filter((win) => win !== undefined);
  const n = known.length;
  if (!n) return { reason: "no comparison yet" };
  const z = 1.959964;
  const p = mean(known);
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n))) / (1 + (z * z) / n);
  return { value: { value: p, low: middle - half, high: middle + half } };
}

export interface Rating {
  item: string;
  labeler: string;
  label: string | number;
}

export interface Agreement {
  items: number;
  labelers: number;
  ratings: number;
  /** Items with two ratings or more: the others say nothing of agreement. */
  rated: number;
  alpha: Estimate;
  fleiss: Estimate;
  /** Share of equal labels over all pairs of ratings of an item. */
  observed: number | undefined;
  /** Every two labelers with an item in common, those that agree least first. */
  pairs: LabelerPair[];
  /** Items by the share of unequal pairs of ratings, the worst first; those without any are not listed. */
  worst: { item: string; disagreement: number; labels: string[] }[];
  alert?: string;
}

/**
 * Agreement under this wants a look. For comparisons it is much to ask: InstructGPT's labelers agreed on 73 % of them,
 * which is an α of about 0.45.
 */
const minAgreement = 0.5;

/** Everything about the agreement of ratings. Labels are numbers but for the nominal scale. */
export function measureAgreement(ratings: readonly Rating[], scale: Scale): Agreement {
  const values = [...new Set(ratings.map(({ label }) => label))].sort((a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : 1,
  );
  const places = new Map(values.map((value, place) => [value, place]));
  const items = new Map<string, Map<string, number>>();
  for (const { item, labeler, label } of ratings) {
    const row = items.get(item) ?? new Map<string, number>();
    items.set(item, row.set(labeler, places.get(label) as number));
  }
  const rows = [...items].map(([item, row]) => {
    const counts = new Array<number>(values.length).fill(0);
    for (const place of row.values()) counts[place] = (counts[place] as number) + 1;
    return { item, row, counts };
  });
  const rated = rows.filter(({ row }) => row.size > 1);
  const counts = rated.map((one) => one.counts);
  const numbers = scale === "nominal" ? values.map((_, place) => place) : values.map(Number);
  const alpha = estimateFromCounts(counts, (some, times) => krippendorffAlpha(some, numbers, scale, times));
  const unequal = rated.map(({ item, row, counts }) => {
    const all = row.size * (row.size - 1);
    const equal = counts.reduce((sum, count) => sum + count * (count - 1), 0);
    return { item, equal, all, labels: [...row].map(([who, place]) => `${who}: ${values[place]}`) };
  });
  const all = unequal.reduce((sum, one) => sum + one.all, 0);
  const pairs = pairwiseKappas(
    rated.map(({ row }) => row),
    values.length,
    scale,
  );
  const found = {
    items: rows.length,
    ratings: ratings.length,
    rated: rated.length,
    alpha,
    labelers: new Set(ratings.map(({ labeler }) => labeler)).size,
    fleiss: estimateFromCounts(counts, fleissKappa),
    observed: all ? unequal.reduce((sum, { equal }) => sum + equal, 0) / all : undefined,
    pairs,
    worst: unequal
      .map(({ item, equal, all, labels }) => ({ item, disagreement: 1 - equal / all, labels }))
      .filter(({ disagreement }) => disagreement > 0)
      .sort((a, b) => b.disagreement - a.disagreement),
  };
  const alert = agreementAlert(alpha, pairs);
  return { ...found, ...(alert !== undefined && { alert }) };
}

/** What is to be looked into, if anything: little agreement of all, or of two, who are named. */
export function agreementAlert({ value }: Estimate, pairs: readonly LabelerPair[]): string | undefined {
  // Each pair gets its part of the chance of a false alarm (Bonferroni).
  const apart = pairs.filter((pair) => lowAgreementPValue(pair) < falseAlarmRate / pairs.length);
  const named = apart
    .slice(0, 5)
    .map(
      ({ a, b, observed, items }) => `${a} and ${b} (alike on ${Math.round(observed * 100)} % of ${items})`,
    );
  const more = apart.length - named.length;
  const alerts = [
    value &&
      value.value < minAgreement &&
      `labelers agree little (α ${value.value.toFixed(2)}, 0 is chance): look at what they disagree about most, and say in the guidelines what decides it; or somebody answers carelessly`,
    apart.length > 0 &&
      `too little agreement of two to be an accident: ${named.join(", ")}${more ? ` and ${more} pairs more` : ""}`,
  ].filter(Boolean);
  return alerts.length ? alerts.join(". ") : undefined;
}

/** Two labelers and how they agree on `items`. */
type LabelerPair = Kappa & { a: string; b: string };

/** The chance that one project has a false alarm about two labelers, if every two agree with a κ of 0.5. */
const falseAlarmRate = 0.01;

/** How likely two who agree with a κ of `enough` give so few equal labels to so many items (exact binomial). */
export const lowAgreementPValue = ({ kappa, observed, expected, items }: LabelerPair): number =>
  kappa === undefined
    ? 1
    : binomialCdf(Math.ceil(observed * items - 1e-9), items, expected + minAgreement * (1 - expected));

/** P(X ≤ k) of a binomial X of n trials. */
function binomialCdf(k: number, n: number, p: number): number {
  let log = n * Math.log(1 - p);
  let sum = Math.exp(log);
  for (let i = 1; i <= k; i++) {
    log += Math.log(((n - i + 1) / i) * (p / (1 - p)));
    sum += Math.exp(log);
  }
  return sum;
}

/** Cohen's κ of every two labelers with an item in common, the lowest first. @param rows places of labels, by labeler */
export function pairwiseKappas(
  rows: readonly ReadonlyMap<string, number>[],
  categories: number,
  scale: Scale,
): Agreement["pairs"] {
  const common = new Map<string, { a: string; b: string; left: number[]; right: number[] }>();
  for (const row of rows) {
    const who = [...row.keys()].sort();
    for (const [i, a] of who.entries())
      for (const b of who.slice(i + 1)) {
        const key = JSON.stringify([a, b]);
        const pair = common.get(key) ?? { a, b, left: [], right: [] };
        common.set(key, pair);
        pair.left.push(row.get(a) as number);
        pair.right.push(row.get(b) as number);
      }
  }
  const weighting = scale === "nominal" ? undefined : scale === "ordinal" ? "linear" : "quadratic";
  return [...common.values()]
    .map(({ a, b, left, right }) => ({ a, b, ...cohenKappa(left, right, categories, weighting) }))
    .sort((x, y) => (x.kappa ?? 2) - (y.kappa ?? 2));
}
