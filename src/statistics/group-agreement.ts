import { type CountAndSum, countAndSum, type Estimate, estimateShare } from "./estimate.ts";
import { groupBy } from "./groups.ts";
import { uniform } from "./random.ts";
import { indexByName } from "./reliability.ts";

export interface GroupAgreement {
  /** Share of pairs of raters from the same group who agree. */
  within: Estimate;
  /** Share of pairs of raters from different groups who agree. */
  across: Estimate;
  difference: GroupDifference;
}

/** How much more raters agree within their group than across groups, beyond what their reliabilities explain. */
export interface GroupDifference {
  /** Difference of the shares of agreement, each less its expected value if all raters had the same preferences. */
  value?: number;
  /** Probability of so large a difference, either way, if the raters had been divided into the groups by lot. */
  pValue?: number;
  /** Why there is no value, or no p-value. */
  reason?: string;
}

/** A rater's answer to an item. */
interface GroupRating {
  rater: string;
  group: string;
  /** Raters with the same one agree. */
  answer: number;
  /** 1 or −1 for a preference, 0 for none. */
  sign: number;
}

/**
 * Measures whether raters agree more within their group than across groups.
 *
 * Agreement also differs between groups of the same preferences if one is more careful. So a rater's reliability ρ is fitted
 * to all pairs of raters, whatever their group, and subtracted. The model is Thurstone's (1927): raters see the same
 * difference between two answers, normally distributed, each with normal noise; the mean product of their answers' signs is then
 * (2/π) asin(ρ_a ρ_b) (Sheppard 1899). What remains is tested by permuting raters between groups: raters, not their
 * answers, are what a group is a sample of.
 * @param items ratings of each, one for each rater, and the cluster that it depends on with others
 */
export function agreementByGroup(
  items: readonly { cluster: unknown; ratings: readonly GroupRating[] }[],
): GroupAgreement {
  const clusters = [...groupBy(items, ({ cluster }) => cluster).values()].map((cluster) => {
    const pairs = cluster.flatMap(({ ratings }) => pairsOf(ratings));
    const totals = (isSameGroup: boolean): CountAndSum =>
      countAndSum(
        pairs
          .filter(([a, b]) => (a.group === b.group) === isSameGroup)
          .map(([a, b]) => Number(a.answer === b.answer)),
      );
    return { within: totals(true), across: totals(false) };
  });
  const reason = "no two of them judged the same pair";
  const share = (side: "within" | "across") =>
    estimateShare(
      clusters.map((cluster) => cluster[side]),
      reason,
    );
  return {
    within: share("within"),
    across: share("across"),
    difference: groupDifference(items.flatMap(({ ratings }) => pairsOf(ratings))),
  };
}

type RatingPair = [GroupRating, GroupRating];

const pairsOf = (ratings: readonly GroupRating[]): RatingPair[] =>
  ratings.flatMap((a, i) => ratings.slice(0, i).map((b): RatingPair => [a, b]));

/** Two raters, by index: the number of items that both rated, and the mean product of their answers' signs. */
interface RaterPair {
  a: number;
  b: number;
  items: number;
  product: number;
}

type ResidualPair = RaterPair & { residual: number };

/** Fewest pairs of answers for each rater: with fewer, the reliabilities are too uncertain to subtract. */
const minPairsPerRater = 20;
/** Fewest ways to divide the raters into groups: with fewer, no division is rare enough for a two-sided p-value of 0.05. */
const minDivisions = 40;
const permutations = 1999;

function groupDifference(pairs: readonly RatingPair[]): GroupDifference {
  const raters = indexByName(pairs.flatMap((pair) => pair.map(({ rater }) => rater)));
  const groups: string[] = [];
  for (const { rater, group } of pairs.flat()) groups[raters.get(rater) as number] = group;
  const products = groupBy(pairs, (pair) => {
    const [a, b] = pair.map(({ rater }) => raters.get(rater) as number) as [number, number];
    return Math.min(a, b) * raters.size + Math.max(a, b);
  });
  const raterPairs = [...products].map(([key, all]): RaterPair => {
    const sum = all.reduce((total, [a, b]) => total + a.sign * b.sign, 0);
    return {
      a: Math.floor(key / raters.size),
      b: key % raters.size,
      items: all.length,
      product: sum / all.length,
    };
  });
  const reliabilities = fitReliabilities(raterPairs, raters.size);
  const residuals = raterPairs.map((pair) => {
    const expected = expectedProduct(reliabilities[pair.a] as number, reliabilities[pair.b] as number);
    // Without ties the share of equal answers is (1 + product) / 2.
    return { ...pair, residual: (pair.product - expected) / 2 };
  });
  const { value, studentised } = residualDifference(residuals, groups);
  if (Number.isNaN(value)) return { reason: "it needs pairs judged within a group, and across groups" };
  if (divisions(groups) < minDivisions)
    return { value, reason: `too few labelers to say: they can be divided in ${divisions(groups)} ways` };
  if (pairs.length < minPairsPerRater * raters.size)
    return {
      value,
      reason: `too few judgements to say: it needs ${minPairsPerRater * raters.size} pairs of judgements, and has ${pairs.length}`,
    };
  const next = uniform(0);
  let extreme = 1;
  for (let i = 0; i < permutations; i++)
    if (residualDifference(residuals, shuffled(groups, next)).studentised >= studentised - 1e-9) extreme++;
  // Two-sided: the one-sided level of 5 % was 8 % where four are careful and eight are not, since the fit leaves unequal
  // residuals to groups of unequal size and care.
  return { value, pValue: Math.min(1, (2 * extreme) / (permutations + 1)) };
}

/** Residuals of pairs of one kind: mean, weighted by items, and its squared standard error. */
interface ResidualMean {
  mean: number;
  squaredError: number;
}

function residualMean(pairs: readonly ResidualPair[]): ResidualMean {
  let [items, sum] = [0, 0];
  for (const pair of pairs) {
    items += pair.items;
    sum += pair.items * pair.residual;
  }
  const mean = sum / items;
  const squares = pairs.reduce((total, pair) => total + (pair.items * (pair.residual - mean)) ** 2, 0);
  return { mean, squaredError: squares / items ** 2 };
}

/**
 * Computes the mean residual of pairs of the same group minus that of the others, and the same in standard errors: residuals
 * of careless raters scatter more, and permutations of a statistic that is not studentised would take that for a difference
 * (Chung & Romano 2013). NaN if there are no pairs of one kind.
 */
function residualDifference(
  pairs: readonly ResidualPair[],
  groups: readonly string[],
): { value: number; studentised: number } {
  const isWithin = ({ a, b }: ResidualPair) => groups[a] === groups[b];
  const within = residualMean(pairs.filter(isWithin));
  const across = residualMean(pairs.filter((pair) => !isWithin(pair)));
  const value = within.mean - across.mean;
  return { value, studentised: value / Math.sqrt(within.squaredError + across.squaredError) };
}

/** Expected product of two raters' signs if their noisy views of the same difference correlate by ρ_a ρ_b. */
const expectedProduct = (a: number, b: number): number => (2 / Math.PI) * Math.asin(a * b);

/** Fits reliabilities from 0 to 1 to the mean products, by least squares, one rater after the other. */
function fitReliabilities(pairs: readonly RaterPair[], raters: number): number[] {
  const reliabilities = new Array<number>(raters).fill(0.7);
  const partners = Array.from({ length: raters }, () => [] as { other: number; pair: RaterPair }[]);
  for (const pair of pairs) {
    partners[pair.a]?.push({ other: pair.b, pair });
    partners[pair.b]?.push({ other: pair.a, pair });
  }
  for (let sweep = 0; sweep < 15; sweep++)
    for (const [rater, others] of partners.entries()) {
      const loss = (reliability: number) =>
        others.reduce((sum, { other, pair }) => {
          const error = pair.product - expectedProduct(reliability, reliabilities[other] as number);
          return sum + pair.items * error * error;
        }, 0);
      reliabilities[rater] = minimise(loss, 0, 1);
    }
  return reliabilities;
}

/** Finds the minimum of a function with one, by ternary search. */
function minimise(loss: (x: number) => number, from: number, to: number): number {
  let [low, high] = [from, to];
  for (let step = 0; step < 25; step++) {
    const [left, right] = [low + (high - low) / 3, high - (high - low) / 3];
    if (loss(left) < loss(right)) high = right;
    else low = left;
  }
  return (low + high) / 2;
}

/** Counts the ways to divide raters into unnamed groups of the given sizes. */
function divisions(groups: readonly string[]): number {
  const sizes = [...groupBy(groups, (group) => group).values()].map((members) => members.length);
  const alike = [...groupBy(sizes, (size) => size).values()].map((same) => same.length);
  const logFactorial = (n: number) =>
    Array.from({ length: n }, (_, i) => Math.log(i + 1)).reduce((a, b) => a + b, 0);
  const log = [...sizes, ...alike].reduce((sum, n) => sum - logFactorial(n), logFactorial(groups.length));
  return Math.round(Math.exp(log));
}

/** Shuffles a copy (Fisher & Yates). */
function shuffled<T>(values: readonly T[], next: () => number): T[] {
  const copy = [...values];
  for (let i = copy.length - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [copy[i], copy[j]] = [copy[j] as T, copy[i] as T];
  }
  return copy;
}
