import { hasMajority, preferencesByPair } from "../src/labels/labeler-preferences.ts";
import { agreementOnPairs } from "../src/labels/quality.ts";
import { labelerWeights } from "../src/labels/weights.ts";
import { measureAgreement, type Scale } from "../src/statistics/agreement.ts";
import { type Estimate, winRate } from "../src/statistics/estimate.ts";
import { agreementByGroup } from "../src/statistics/group-agreement.ts";
import { uniform } from "../src/statistics/random.ts";
import { simulateRankings } from "./simulated-labelers.ts";

/** An alarm that the program raises, or a statement that it lets people make, under a planted truth. */
interface Alarm {
  alarm: string;
  truth: string;
  /** Whether the alarm would be wrong. */
  isFalse: boolean;
  /** Highest share of false alarms that is claimed; lowest share of right ones from 50 tasks on. */
  bound: number;
  /** Simulates a project of some tasks. @returns whether there is an alarm */
  rings: (tasks: number, seed: number) => boolean;
}

/** Share of simulations with an alarm. */
export const alarmRate = ({ rings }: Alarm, tasks: number, simulations: number): number =>
  Array.from({ length: simulations }, (_, seed) => rings(tasks, seed)).filter(Boolean).length / simulations;

/** Comparisons by two labelers, each right with a probability that makes α as planted: α = (2p − 1)². */
function agreesLittle(alpha: number) {
  return (tasks: number, seed: number): boolean => {
    const next = uniform(seed);
    const accuracy = (1 + Math.sqrt(alpha)) / 2;
    const pairs = Array.from({ length: tasks }, (_, task) => {
      const truth = next() < 0.5;
      return ["a", "b"].map((labeler) => ({
        task: String(task),
        labeler,
        category: next() < accuracy === truth ? 2 : 0,
      }));
    });
    const { value } = agreementOnPairs(pairs).alpha;
    return value !== undefined && value.high < 0.5;
  };
}

/** Four labelers who each give the label of an item, or with some probability another by lot. */
function fourRaters(scale: Scale, care: readonly number[]) {
  return (items: number, seed: number): boolean => {
    const next = uniform(seed);
    const classes = scale === "nominal" ? 2 : 5;
    const any = () => 1 + Math.floor(classes * next());
    const ratings = Array.from({ length: items }, (_, item) => {
      const truth = any();
      return care.map((p, k) => ({ item: `${item}`, labeler: `${k}`, label: next() < p ? truth : any() }));
    }).flat();
    return measureAgreement(ratings, scale).alert?.includes("more than chance explains") ?? false;
  };
}
/** Two who each give the true label with this probability, or else one by lot, agree with κ = p² on every scale. */
const half = Math.SQRT1_2;

const isBiased = ({ value }: Estimate): boolean =>
  value !== undefined && (value.low > 0.5 || value.high < 0.5);

/** Rankings of four of which the six pairs are won by the first-shown with a probability that varies by task. */
const leftBias = (share: number) => (tasks: number, seed: number) => {
  const next = uniform(seed);
  return isBiased(
    winRate(
      Array.from({ length: tasks }, () => {
        const order = next() < 0.5 ? 0.25 : -0.25;
        return Array.from({ length: 6 }, () => Number(next() < share + order));
      }),
    ),
  );
};

/** Labelers by group, each right with their probability; of tasks, the share that the second group sees the other way. */
function cohorts(accuracies: (next: () => number) => readonly (readonly number[])[], opposed: number) {
  return (tasks: number, seed: number): boolean => {
    const next = uniform(seed);
    const raters = accuracies(next).flatMap((group, g) =>
      group.map((accuracy, i) => ({ rater: `${g} ${i}`, group: `${g}`, accuracy })),
    );
    // Five times as many, since fewer than 20 pairs of judgements for each labeler have no p-value.
    const items = Array.from({ length: 5 * tasks }, (_, cluster) => {
      const isOpposed = next() < opposed;
      const first = Math.floor(next() * raters.length);
      const second = (first + 1 + Math.floor(next() * (raters.length - 1))) % raters.length;
      const ratings = [first, second].map((place) => {
        const { rater, group, accuracy } = raters[place] as (typeof raters)[number];
        const sign = next() < accuracy === (isOpposed && group === "1") ? -1 : 1;
        return { rater, group, answer: sign, sign };
      });
      return { cluster, ratings };
    });
    return (agreementByGroup(items).difference.pValue ?? 1) < 0.05;
  };
}
const alike = (accuracy: number) => new Array<number>(5).fill(accuracy);
const uneven = (next: () => number) => Array.from({ length: 5 }, () => 0.55 + 0.4 * next());

/** Five labelers of whom the first has an accuracy of their own: whether their judgements count nothing. */
const countsNothing = (accuracy: number) => (tasks: number, seed: number) => {
  const accuracies = [accuracy, 0.85, 0.85, 0.85, 0.85];
  const judgements = simulateRankings({ completions: 2, accuracies, tasks, overlap: 3, goldRate: 0, seed });
  return labelerWeights(judgements).get("0") === 0;
};

/** Judgements that a usable comparison takes, of two labelers who are right in 0.85 and agree less often. */
function judgementsPerComparison(tasks: number, seed: number): number {
  const judgements = simulateRankings({
    completions: 4,
    accuracies: [0.85, 0.85],
    tasks,
    overlap: 2,
    goldRate: 0,
    seed,
  });
  return judgements.length / [...preferencesByPair(judgements).values()].filter(hasMajority).length;
}
let expectedWork: number | undefined;
function forecastIsOff(tasks: number, seed: number): boolean {
  expectedWork ??= judgementsPerComparison(20_000, 12_345);
  return Math.abs(judgementsPerComparison(tasks, seed) / expectedWork - 1) > 0.2;
}

export const alarms: readonly Alarm[] = [
  ...[0.5, 0.7].map(
    (alpha): Alarm => ({
      alarm: "labelers agree little",
      truth: `α ${alpha}`,
      isFalse: true,
      bound: 0.025,
      rings: agreesLittle(alpha),
    }),
  ),
  {
    alarm: "labelers agree little",
    truth: "α 0.1",
    isFalse: false,
    bound: 0.7,
    rings: agreesLittle(0.1),
  },
  ...(["nominal", "ordinal", "interval"] as const).flatMap((scale): Alarm[] => [
    {
      alarm: `a pair disagrees, ${scale}`,
      truth: "each pair κ 0.5",
      isFalse: true,
      bound: 0.01,
      rings: fourRaters(scale, [half, half, half, half]),
    },
    {
      alarm: `a pair disagrees, ${scale}`,
      truth: "one of four at random",
      isFalse: false,
      bound: 0.7,
      rings: fourRaters(scale, [0.9, 0.9, 0.9, 0]),
    },
  ]),
  {
    alarm: "the first-shown or longer wins",
    truth: "one half",
    isFalse: true,
    bound: 0.05,
    rings: leftBias(0.5),
  },
  {
    alarm: "the first-shown or longer wins",
    truth: "0.65",
    isFalse: false,
    bound: 0.9,
    rings: leftBias(0.65),
  },
  {
    alarm: "groups differ, p < 0.05, five times as many tasks",
    truth: "careful (0.95) and careless (0.65), same preferences",
    isFalse: true,
    bound: 0.05,
    rings: cohorts(() => [alike(0.95), alike(0.65)], 0),
  },
  {
    alarm: "groups differ, p < 0.05, five times as many tasks",
    truth: "ten uneven labelers by lot, same preferences",
    isFalse: true,
    bound: 0.05,
    rings: cohorts((next) => [uneven(next), uneven(next)], 0),
  },
  {
    alarm: "groups differ, p < 0.05, five times as many tasks",
    truth: "five and five (0.9), opposed on 3 of 10 tasks",
    isFalse: false,
    bound: 0.3,
    rings: cohorts(() => [alike(0.9), alike(0.9)], 0.3),
  },
  {
    alarm: "a labeler counts nothing",
    truth: "right in 0.75, like others",
    isFalse: true,
    bound: 0.02,
    rings: countsNothing(0.75),
  },
  {
    alarm: "a labeler counts nothing",
    truth: "right in 0.2",
    isFalse: false,
    bound: 0.9,
    rings: countsNothing(0.2),
  },
  {
    alarm: "a forecast is off by a fifth or more",
    truth: "rankings of four, two labelers, right in 0.85",
    isFalse: true,
    bound: 0.05,
    rings: forecastIsOff,
  },
];
