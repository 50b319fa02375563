import { minClusters } from "./bootstrap.ts";
import { type Estimate, estimateFromCounts } from "./estimate.ts";
import { denseRanks, mean } from "./numbers.ts";
import { studentUpperTail } from "./student.ts";

// Agreement between labelers. A statistic that is undefined on its data has no value but a reason: never 1, never 0.

export const scales = ["nominal", "ordinal", "interval", "ratio"] as const;
export type Scale = (typeof scales)[number];

export interface Kappa {
  kappa?: number;
  reason?: string;
  /** Share of items with equal labels, on every scale. */
  observed: number;
  /** Expected value of `observed` for independent labels with the same marginals. */
  expected: number;
  /** Share of each category, by labeler. */
  marginals: [number[], number[]];
  items: number;
}

/**
 * Computes Cohen's κ of two labelers on the same items, 1 − D_o / D_e: the mean disagreement of the labels, over that of
 * independent labels with the same marginals (Cohen 1960; with weights 1968). The disagreement of two labels is 0 or 1 on
 * the nominal scale, the distance of their places on the ordinal one (linear weights), and a function of their values on the
 * interval scale (quadratic weights) and the ratio scale, as in Krippendorff's α.
 * @param a, b category index of each item's label @param values of the categories, ascending; not used on the nominal scale
 */
export function cohenKappa(
  a: readonly number[],
  b: readonly number[],
  values: readonly number[],
  scale: Scale = "nominal",
): Kappa {
  const items = a.length;
  const share = (labels: readonly number[]) =>
    values.map((_, c) => labels.filter((label) => label === c).length / items);
  const marginals: [number[], number[]] = [share(a), share(b)];
  const meanOf = (measure: (x: number, y: number) => number) =>
    a.reduce((sum, x, i) => sum + measure(x, b[i] as number), 0) / items;
  const expectedOf = (measure: (x: number, y: number) => number) =>
    marginals[0].reduce(
      (sum, p, x) => sum + marginals[1].reduce((inner, q, y) => inner + p * q * measure(x, y), 0),
      0,
    );
  const equal = (x: number, y: number) => Number(x === y);
  const agreement = { observed: meanOf(equal), expected: expectedOf(equal), marginals, items };
  if (!items) return { ...agreement, reason: "they have no item in common" };
  if (1 - agreement.expected < 1e-12)
    return { ...agreement, reason: "both gave one and the same label to everything" };
  const disagreement = kappaDisagreement(values, scale);
  return { ...agreement, kappa: 1 - meanOf(disagreement) / expectedOf(disagreement) };
}

/** Returns the scale's disagreement in κ between the labels of two categories. */
function kappaDisagreement(values: readonly number[], scale: Scale): (x: number, y: number) => number {
  if (scale === "ordinal") return (x, y) => Math.abs(x - y);
  return squaredDistance(values, [], scale);
}

/**
 * Computes Fleiss' κ (Fleiss 1971).
 * @param counts (items, categories): ratings of each item in each category
 * @param times how many items each row stands for. Default: 1 each
 * @returns κ, or the reason why it is undefined
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
    const repeats = times[i] as number;
    let squares = 0;
    row.forEach((count, c) => {
      squares += count * count;
      sums[c] = (sums[c] as number) + count * repeats;
    });
    agreed += ((squares - n) / (n * (n - 1))) * repeats;
  });
  const observed = agreed / items;
  const expected = sums.reduce((sum, count) => sum + (count / total) ** 2, 0);
  return 1 - expected < 1e-12 ? "every rating is the same" : (observed - expected) / (1 - expected);
}

/**
 * Computes Krippendorff's α, 1 − D_o / D_e (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"). Ratings may
 * be missing: items with fewer than two are ignored.
 * @param counts (items, values): ratings of each item with each value @param values of the columns, ascending
 * @param times how many items each row stands for. Default: 1 each
 * @returns α, or the reason why it is undefined
 */
export function krippendorffAlpha(
  counts: readonly (readonly number[])[],
  values: readonly number[],
  scale: Scale,
  times: readonly number[] = counts.map(() => 1),
): number | string {
  const k = values.length;
  const totals = new Array<number>(k).fill(0);
  /** Coincidence matrix (values, values): pairs of ratings within items, each item weighted by 1 / (ratings − 1). */
  const coincidences = new Array<number>(k * k).fill(0);
  for (const [i, row] of counts.entries()) {
    const repeats = times[i] as number;
    let size = 0;
    for (let c = 0; c < k; c++) size += row[c] as number;
    if (size < 2) continue;
    for (let c = 0; c < k; c++) {
      const count = (row[c] as number) * repeats;
      if (!count) continue;
      totals[c] = (totals[c] as number) + count;
      for (let d = 0; d < k; d++)
        coincidences[c * k + d] =
          (coincidences[c * k + d] as number) + (count * ((row[d] as number) - Number(c === d))) / (size - 1);
    }
  }
  const n = totals.reduce((a, b) => a + b, 0);
  if (n < 2) return "no item has two ratings";
  const distance = squaredDistance(values, totals, scale);
  let observed = 0;
  let expected = 0;
  for (let c = 0; c < k; c++)
    for (let d = 0; d < k; d++) {
      const squared = distance(c, d);
      observed += (coincidences[c * k + d] as number) * squared;
      expected += (totals[c] as number) * ((totals[d] as number) - Number(c === d)) * squared;
    }
  return expected === 0 ? "every rating is the same" : 1 - (observed * (n - 1)) / expected;
}

/** Returns the scale's squared distance between the values at two column indices. */
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
  // Ordinal: the distance of two values is the number of ratings between them, the two counted by half.
  let cumulative = 0;
  const midRanks = totals.map((count) => {
    cumulative += count;
    return cumulative - count / 2;
  });
  const midRank = (c: number) => midRanks[c] as number;
  return (c, d) => (midRank(c) - midRank(d)) ** 2;
}

/** Computes Kendall's τ-b of two rankings of the same items (Kendall 1945). @returns τ, or the reason why it is undefined */
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
  if (!pairs) return "it needs two ranked items";
  if (tiesA === pairs || tiesB === pairs) return "one ranking is all ties";
  return agree / Math.sqrt((pairs - tiesA) * (pairs - tiesB));
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
  /** Number of items with two ratings or more. The others are ignored. */
  rated: number;
  alpha: Estimate;
  fleiss: Estimate;
  /** Share of pairs of ratings of the same item that are equal. */
  observed: number | undefined;
  /** Pairs of labelers with an item in common, least agreement first. */
  pairs: LabelerPair[];
  /** Items with disagreement, by the share of unequal pairs of ratings, the worst first. */
  worst: { item: string; disagreement: number; labels: string[] }[];
  alert?: string;
}

/**
 * Agreement below this raises an alert. It is a high bar for comparisons: InstructGPT's labelers agreed on 73 % of them,
 * which is an α of about 0.45.
 */
const minAgreement = 0.5;

/** Computes all agreement statistics of ratings. Labels must be numbers, except on the nominal scale. */
export function measureAgreement(ratings: readonly Rating[], scale: Scale): Agreement {
  const values = [...new Set(ratings.map(({ label }) => label))].sort((a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : 1,
  );
  const indexOfValue = new Map(values.map((value, index) => [value, index]));
  const items = new Map<string, Map<string, number>>();
  for (const { item, labeler, label } of ratings) {
    const row = items.get(item) ?? new Map<string, number>();
    items.set(item, row.set(labeler, indexOfValue.get(label) as number));
  }
  const rows = [...items].map(([item, row]) => {
    const counts = new Array<number>(values.length).fill(0);
    for (const index of row.values()) counts[index] = (counts[index] as number) + 1;
    return { item, row, counts };
  });
  const ratedTwice = rows.filter(({ row }) => row.size > 1);
  const counts = ratedTwice.map((item) => item.counts);
  const numbers = scale === "nominal" ? values.map((_, index) => index) : values.map(Number);
  const alpha = estimateFromCounts(counts, (distinct, times) =>
    krippendorffAlpha(distinct, numbers, scale, times),
  );
  const itemPairs = ratedTwice.map(({ item, row, counts }) => {
    const all = row.size * (row.size - 1);
    const equal = counts.reduce((sum, count) => sum + count * (count - 1), 0);
    return { item, equal, all, labels: [...row].map(([labeler, index]) => `${labeler}: ${values[index]}`) };
  });
  const allPairs = itemPairs.reduce((sum, { all }) => sum + all, 0);
  const pairs = pairwiseKappas(
    ratedTwice.map(({ row }) => row),
    numbers,
    scale,
  );
  const agreement = {
    items: rows.length,
    ratings: ratings.length,
    rated: ratedTwice.length,
    alpha,
    labelers: new Set(ratings.map(({ labeler }) => labeler)).size,
    fleiss: estimateFromCounts(counts, fleissKappa),
    observed: allPairs ? itemPairs.reduce((sum, { equal }) => sum + equal, 0) / allPairs : undefined,
    pairs,
    worst: itemPairs
      .map(({ item, equal, all, labels }) => ({ item, disagreement: 1 - equal / all, labels }))
      .filter(({ disagreement }) => disagreement > 0)
      .sort((a, b) => b.disagreement - a.disagreement),
  };
  const alert = agreementAlert(alpha, pairs);
  return { ...agreement, ...(alert !== undefined && { alert }) };
}

/** Writes a warning if all labelers, or two of them, agree too little; undefined if there is nothing to warn of. */
export function agreementAlert({ value }: Estimate, pairs: readonly LabelerPair[]): string | undefined {
  // Bonferroni correction: the false alarm rate is divided by the number of pairs.
  const disagreeing = pairs.filter((pair) => lowAgreementPValue(pair) < falseAlarmRate / pairs.length);
  const examples = disagreeing
    .slice(0, 5)
    .map(
      ({ a, b, observed, items }) => `${a} and ${b} (alike on ${Math.round(observed * 100)} % of ${items})`,
    );
  const more = disagreeing.length - examples.length;
  const alerts = [
    value &&
      value.high < minAgreement &&
      `Labelers agree little (α ${value.value.toFixed(2)}, 0 is chance): look at the tasks they disagree about most, and decide such cases in the guidelines; or a labeler is careless`,
    disagreeing.length > 0 &&
      `${disagreeing.length > 1 ? "These pairs disagree" : "This pair disagrees"} more than chance explains: ${examples.join(", ")}${more ? ` and ${more} more pairs` : ""}`,
  ].filter(Boolean);
  return alerts.length ? alerts.join(". ") : undefined;
}

/** Agreement of two labelers. */
type LabelerPair = Kappa & {
  a: string;
  b: string;
  /** On all scales but the nominal one, p-value of a weighted κ of `minAgreement`; undefined below five items. */
  weightedPValue?: number | undefined;
};

/** Probability that a project gets a false alarm about a pair of labelers, if every pair agrees with a κ of 0.5. */
const falseAlarmRate = 0.01;

/**
 * Computes the p-value of a pair's agreement under a κ of `minAgreement`: on the nominal scale P(so few equal labels), exact
 * binomial. On the others labels that are near agree in part, and equal ones may be rare: see `weightedPValue`.
 */
export const lowAgreementPValue = (pair: LabelerPair): number => {
  const { kappa, observed, expected, items } = pair;
  if (kappa === undefined) return 1;
  if ("weightedPValue" in pair) return pair.weightedPValue ?? 1;
  return binomialCdf(Math.ceil(observed * items - 1e-9), items, expected + minAgreement * (1 - expected));
};

/** Computes P(X ≤ k) of a binomial X of n trials with probability p. */
function binomialCdf(k: number, n: number, p: number): number {
  let log = n * Math.log(1 - p);
  let sum = Math.exp(log);
  for (let i = 1; i <= k; i++) {
    log += Math.log(((n - i + 1) / i) * (p / (1 - p)));
    sum += Math.exp(log);
  }
  return sum;
}

/**
 * Computes the p-value of a weighted κ under one of `minAgreement`, by Student's t: whether D_o − (1 − κ) D_e is above 0 by
 * more than its standard error, in which every item counts with its influence on both.
 * @returns undefined below five items
 */
function weightedPValue(
  a: readonly number[],
  b: readonly number[],
  [sharesA, sharesB]: Kappa["marginals"],
  disagreement: (x: number, y: number) => number,
): number | undefined {
  const n = a.length;
  if (n < minClusters) return undefined;
  const meanTo = (shares: readonly number[], label: number) =>
    shares.reduce((sum, share, other) => sum + share * disagreement(label, other), 0);
  const chance = mean(a.map((x) => meanTo(sharesB, x)));
  const influences = a.map((x, i) => {
    const y = b[i] as number;
    return disagreement(x, y) - (1 - minAgreement) * (meanTo(sharesB, x) + meanTo(sharesA, y) - chance);
  });
  const centre = mean(influences);
  const variance = influences.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (n - 1);
  // 0 where no item adds anything.
  const t = centre / Math.sqrt(variance / n) || 0;
  // Few items may be all alike: no smaller than the smallest p-value of a sign test.
  return Math.max(studentUpperTail(t, n - 1), 0.5 ** n);
}

/** Category index by labeler, of one item. */
type ItemLabels = ReadonlyMap<string, number>;

/**
 * Computes Cohen's κ of every two labelers with an item in common, lowest first. It depends on the labels of the two alone:
 * places on the ordinal scale are those among the labels that they used.
 * @param values of the categories, ascending
 */
export function pairwiseKappas(
  rows: readonly ItemLabels[],
  values: readonly number[],
  scale: Scale,
): Agreement["pairs"] {
  const labelsByPair = new Map<string, { a: string; b: string; left: number[]; right: number[] }>();
  for (const row of rows) {
    const labelers = [...row.keys()].sort();
    for (const [i, a] of labelers.entries())
      for (const b of labelers.slice(i + 1)) {
        const key = JSON.stringify([a, b]);
        const pair = labelsByPair.get(key) ?? { a, b, left: [], right: [] };
        labelsByPair.set(key, pair);
        pair.left.push(row.get(a) as number);
        pair.right.push(row.get(b) as number);
      }
  }
  return [...labelsByPair.values()]
    .map(({ a, b, left, right }): LabelerPair => {
      const places = denseRanks([...left, ...right]);
      const used = [...new Set([...left, ...right])].sort((x, y) => x - y).map((c) => values[c] as number);
      const [first, second] = [places.slice(0, left.length), places.slice(left.length)];
      const kappa = cohenKappa(first, second, used, scale);
      if (scale === "nominal") return { a, b, ...kappa };
      const pValue = weightedPValue(first, second, kappa.marginals, kappaDisagreement(used, scale));
      return { a, b, ...kappa, weightedPValue: pValue };
    })
    .sort((x, y) => (x.kappa ?? 2) - (y.kappa ?? 2));
}
