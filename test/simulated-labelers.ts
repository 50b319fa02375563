import type { Judgement } from "../src/labels/judgements.ts";
import { pairwisePreferences } from "../src/labels/pairwise-preferences.ts";
import { denseRanks } from "../src/statistics/numbers.ts";
import { uniform } from "../src/statistics/random.ts";

/** Simulated project of rankings. */
export interface Simulation {
  /** Completions of a task, 2 to 9. */
  completions: number;
  /** Of each labeler, how likely a pair is in the right order; below one half for adversaries. */
  accuracies: readonly number[];
  tasks: number;
  /** Labelers of each task. */
  overlap: number;
  /** Share of tasks whose answer is known. */
  goldRate: number;
  seed: number;
}

/** Draws from the normal distribution (Box & Muller 1958). */
export const normal = (next: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

/** Finds the noise, in deviations of the completions' quality, with which pairs are in the right order so often. */
const noiseFor = new Map<number, number>();
function noiseOf(accuracy: number): number {
  const known = noiseFor.get(accuracy);
  if (known !== undefined) return known;
  const next = uniform(1);
  const draws = Array.from({ length: 20_000 }, () => [normal(next), normal(next)] as const);
  const accuracyWith = (noise: number) =>
    draws.filter(([difference, error]) => (difference + noise * error) * difference > 0).length /
    draws.length;
  let [low, high] = [0, 50];
  for (let i = 0; i < 30; i++) {
    const middle = (low + high) / 2;
    if (accuracyWith(middle) > accuracy) low = middle;
    else high = middle;
  }
  noiseFor.set(accuracy, low);
  return low;
}

/** Lets simulated labelers rank completions of normally distributed quality, which they see with noise. */
export function simulateRankings(simulation: Simulation): Judgement[] {
  const { completions, accuracies, tasks, overlap, goldRate, seed } = simulation;
  const next = uniform(seed);
  const rank = (values: readonly number[]) =>
    denseRanks(values.map((value) => -value)).map((place) => place + 1);
  return Array.from({ length: tasks }, (_, t) => {
    const quality = Array.from({ length: completions }, () => normal(next));
    const gold = next() < goldRate ? { ranks: rank(quality) } : undefined;
    const who = new Set<number>();
    // Everybody is given the tasks with a known answer.
    while (who.size < (gold ? accuracies.length : overlap)) who.add(Math.floor(next() * accuracies.length));
    return [...who].map((labeler): Judgement => {
      const accuracy = accuracies[labeler] as number;
      const noise = noiseOf(Math.max(accuracy, 1 - accuracy));
      const seen = quality.map((value) => (value + noise * normal(next)) * (accuracy < 0.5 ? -1 : 1));
      const answer = { ranks: rank(seen) };
      return {
        id: `${t} ${labeler}`,
        task: String(t),
        labeler: String(labeler),
        answer,
        order: seen.map((_, place) => place).sort(() => next() - 0.5),
        seconds: 1,
        at: t,
        repeat: false,
        source: null,
        gold,
        preferences: pairwisePreferences(answer),
      };
    });
  }).flat();
}
