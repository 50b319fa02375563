import { countedJudgements, type Judgement } from "../src/labels/judgements.ts";
import { agreementOnPairs, preferencesByPair } from "../src/labels/quality.ts";
import { bootstrap, type Interval, shareInterval } from "../src/statistics/bootstrap.ts";
import { type Estimate, winRate } from "../src/statistics/estimate.ts";
import { mean } from "../src/statistics/numbers.ts";
import { uniform } from "../src/statistics/random.ts";
import { normal, simulateRankings } from "./simulated-labelers.ts";

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

export const statistics: readonly Statistic[] = [
  statistic("Krippendorff's α of comparisons", [2, 4, 6, 9], twoLabelers, (judgements) =>
    intervalOf(
      agreementOnPairs(
        [...preferencesByPair(countedJudgements(judgements)).values()].filter((pair) => pair.length > 1),
      ).alpha,
    ),
  ),
  statistic("position and length bias", [2, 4, 6, 9], correctPairs, (tasks) => intervalOf(winRate(tasks))),
  statistic("accuracy of a reward model or judge", [2, 4, 9], correctPairs, (tasks) =>
    shareInterval(tasks.map((pairs) => ({ wins: pairs.reduce((a, b) => a + b, 0), total: pairs.length }))),
  ),
  statistic(
    "mean score of a policy",
    [1],
    (_, tasks, seed) => {
      const next = uniform(seed);
      return Array.from({ length: tasks }, () => Math.min(1, Math.max(0, 0.6 + 0.4 * normal(next))));
    },
    (scores) => bootstrap(scores, mean),
  ),
];
