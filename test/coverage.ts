import { accuracyOf } from "../src/constitution/calibrate.ts";
import { countedJudgements, type Judgement } from "../src/labels/judgements.ts";
import { preferencesByPair } from "../src/labels/labeler-preferences.ts";
import { agreementOnPairs, meanKendallTau, ratingAlpha } from "../src/labels/quality.ts";
import { measureAgreement, type Rating } from "../src/statistics/agreement.ts";
import { bootstrap, type Interval, shareInterval } from "../src/statistics/bootstrap.ts";
import { type Estimate, winRate } from "../src/statistics/estimate.ts";
import { agreementByGroup } from "../src/statistics/group-agreement.ts";
import { mean } from "../src/statistics/numbers.ts";
import { normal, uniform } from "../src/statistics/random.ts";
import { simulateRankings } from "./simulated-labelers.ts";

/** A statistic with an interval, of which the coverage is measured. */
interface Statistic {
  name: string;
  /** Answers of a task: k make k(k − 1)/2 pairs. */
  sizes: number[];
  /**
   * Returns the share of simulations in which the interval holds the truth. Those without an interval do not count.
   * @param options.truthTasks tasks of the sample that the truth is computed from. Default: 5,000
   */
  cover: (options: { size: number; tasks: number; simulations: number; truthTasks?: number }) => number;
}

/**
 * @param simulate a sample of some tasks
 * @param estimate the statistic of a sample
 */
function statistic<T>(
  name: string,
  sizes: number[],
  simulate: (size: number, tasks: number, seed: number) => T,
  estimate: (sample: T) => Interval | undefined,
): Statistic {
  const truths = new Map<number, number>();
  const truthOf = (size: number, tasks: number) => estimate(simulate(size, tasks, 12_345))?.value as number;
  return {
    name,
    sizes,
    cover({ size, tasks, simulations, truthTasks = 5000 }) {
      const truth = truths.get(size) ?? truthOf(size, truthTasks);
      truths.set(size, truth);
      const intervals = Array.from({ length: simulations }, (_, seed) =>
        estimate(simulate(size, tasks, seed)),
      );
      const known = intervals.filter((interval) => interval && !Number.isNaN(interval.low)) as Interval[];
      return known.filter(({ low, high }) => low <= truth && truth <= high).length / known.length;
    },
  };
}

const intervalOf = ({ value }: Estimate): Interval | undefined => value;
const twoLabelers = (completions: number, tasks: number, seed: number): Judgement[] =>
  simulateRankings({ completions, accuracies: [0.85, 0.75], tasks, overlap: 2, goldRate: 0, seed });

/** Pairs of the tasks that are right: those of one task share what is hard about it. */
function correctPairs(size: number, tasks: number, seed: number): number[][] {
  const next = uniform(seed);
  return Array.from({ length: tasks }, () => {
    const ease = 1 / (1 + Math.exp(-(1.2 + normal(next))));
    return Array.from({ length: (size * (size - 1)) / 2 }, () => Number(next() < ease));
  });
}

const onPairs = (judgements: readonly Judgement[]) =>
  agreementOnPairs(
    [...preferencesByPair(countedJudgements(judgements)).values()].filter((pair) => pair.length > 1),
  );

/**
 * Judgements in which two labelers rate completions from 1 to 5, each near a quality that they share. A
 * labeler is strict or mild on all completions of a task, so that the disagreements of a task depend on each other.
 */
function ratedTwice(completions: number, tasks: number, seed: number): Judgement[] {
  const next = uniform(seed);
  const rate = (quality: number) => Math.min(5, Math.max(1, Math.round(3 + quality + 0.7 * normal(next))));
  return Array.from({ length: tasks }, (_, task) => {
    const topic = 0.7 * normal(next);
    const qualities = Array.from({ length: completions }, () => topic + normal(next));
    return ["a", "b"].map((labeler): Judgement => {
      const mildness = 0.8 * normal(next);
      const answer = { ratings: { quality: qualities.map((quality) => rate(quality + mildness)) } };
      const order = qualities.map((_, place) => place);
      const origin = { id: `${task} ${labeler}`, task: String(task), labeler, seconds: 1, at: task };
      return { ...origin, answer, order, repeat: false, source: null, gold: undefined, preferences: [] };
    });
  }).flat();
}

/** Ratings of items by three labelers on a scale of 1 to 7, of whom each leaves some out. */
function threeRaters(_: number, items: number, seed: number): Rating[] {
  const next = uniform(seed);
  return Array.from({ length: items }, (_, item) => {
    const quality = 4 + 1.5 * normal(next);
    return ["a", "b", "c"].flatMap((labeler) => {
      const label = Math.min(7, Math.max(1, Math.round(quality + normal(next))));
      return next() < 0.2 ? [] : [{ item: String(item), labeler, label }];
    });
  }).flat();
}

/** Answers to the pairs of tasks by two labelers of each of two groups. */
function groupAnswers(size: number, tasks: number, seed: number) {
  const next = uniform(seed);
  return correctPairs(size, tasks, seed).flatMap((pairs, cluster) =>
    pairs.map(() => {
      const ease = 0.6 + 0.3 * next();
      const ratings = ["a", "b", "c", "d"].map((rater, i) => {
        const sign = next() < ease ? 1 : -1;
        return { rater, group: String(i % 2), answer: sign, sign };
      });
      return { cluster, ratings };
    }),
  );
}

/** Margins of a judge on the pairs of prompts, in the direction of each of two people: see `correctPairs`. */
function judgeBesidePeople(size: number, tasks: number, seed: number): number[][] {
  const next = uniform(seed);
  return correctPairs(size, tasks, seed).map((pairs) =>
    pairs.flatMap((isRight) => [0, 1].map(() => (next() < 0.85 === (isRight === 1) ? 1 : -1))),
  );
}

/** Scores between 0 and 1 of a policy's answers, one to a prompt. */
function scores(_: number, prompts: number, seed: number): number[] {
  const next = uniform(seed);
  return Array.from({ length: prompts }, () => Math.min(1, Math.max(0, 0.6 + 0.4 * normal(next))));
}

/** Differences of two policies' scores on the same prompts, the means over three seeds. */
function differences(_: number, prompts: number, seed: number): number[] {
  const next = uniform(seed);
  const score = (ease: number) => Math.min(1, Math.max(0, ease + 0.3 * normal(next)));
  return Array.from({ length: prompts }, () => {
    const ease = next();
    return mean([0, 1, 2].map(() => score(ease + 0.1) - score(ease)));
  });
}

const wins = (pairs: readonly number[]) => ({
  wins: pairs.reduce((a, b) => a + b, 0),
  total: pairs.length,
});

export const statistics: readonly Statistic[] = [
  statistic("Krippendorff's α of comparisons", [2, 4, 6, 9], twoLabelers, (judgements) =>
    intervalOf(onPairs(judgements).alpha),
  ),
  statistic("Fleiss' κ of comparisons", [2, 4, 9], twoLabelers, (judgements) =>
    intervalOf(onPairs(judgements).fleiss),
  ),
  statistic("Kendall's τ of rankings", [4, 9], twoLabelers, (judgements) =>
    intervalOf(meanKendallTau(judgements)),
  ),
  statistic("α of a criterion's ratings", [1, 4, 9], ratedTwice, (judgements) =>
    intervalOf(ratingAlpha(judgements, "quality")),
  ),
  statistic("α of a table, ordinal", [1], threeRaters, (ratings) =>
    intervalOf(measureAgreement(ratings, "ordinal").alpha),
  ),
  statistic("α of a table, interval", [1], threeRaters, (ratings) =>
    intervalOf(measureAgreement(ratings, "interval").alpha),
  ),
  statistic("agreement within groups", [2, 4], groupAnswers, (items) =>
    intervalOf(agreementByGroup(items).within),
  ),
  statistic("agreement across groups", [2, 4], groupAnswers, (items) =>
    intervalOf(agreementByGroup(items).across),
  ),
  statistic("position and length bias", [2, 4, 6, 9], correctPairs, (tasks) => intervalOf(winRate(tasks))),
  statistic("accuracy of a reward model", [2, 4, 9], correctPairs, (tasks) => shareInterval(tasks.map(wins))),
  statistic("reward model's, of unequal weights", [2, 4, 9], correctPairs, (tasks) => {
    const next = uniform(tasks.length);
    return shareInterval(
      tasks.map((pairs) => {
        const weight = 0.2 + 0.8 * next();
        return { wins: weight * wins(pairs).wins, total: weight * pairs.length };
      }),
    );
  }),
  statistic("agreement of a judge with people", [2, 4, 9], judgeBesidePeople, accuracyOf),
  statistic("mean score of a policy", [1], scores, (sample) => bootstrap(sample, mean)),
  statistic("difference of two policies", [1], differences, (sample) => bootstrap(sample, mean)),
];
