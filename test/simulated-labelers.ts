import { setImmediate } from "node:timers/promises";
import { type Judgement, readJudgements } from "../src/labels/judgements.ts";
import { nextTask, submitJudgement } from "../src/labels/labeling.ts";
import { pairwisePreferences } from "../src/labels/pairwise-preferences.ts";
import { LabelStore } from "../src/labels/store.ts";
import { denseRanks } from "../src/statistics/numbers.ts";
import { normal, uniform } from "../src/statistics/random.ts";

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

const rank = (values: readonly number[]): number[] =>
  denseRanks(values.map((value) => -value)).map((place) => place + 1);

/** What a labeler sees of completions' quality: with noise, and an adversary the wrong way round. */
function see(quality: readonly number[], accuracy: number, next: () => number): number[] {
  const noise = noiseOf(Math.max(accuracy, 1 - accuracy));
  return quality.map((value) => (value + noise * normal(next)) * (accuracy < 0.5 ? -1 : 1));
}

/** Lets simulated labelers rank completions of normally distributed quality, which they see with noise. */
export function simulateRankings(simulation: Simulation): Judgement[] {
  const { completions, accuracies, tasks, overlap, goldRate, seed } = simulation;
  const next = uniform(seed);
  return Array.from({ length: tasks }, (_, t) => {
    const quality = Array.from({ length: completions }, () => normal(next));
    const gold = next() < goldRate ? { ranks: rank(quality) } : undefined;
    const who = new Set<number>();
    // Everybody is given the tasks with a known answer.
    while (who.size < (gold ? accuracies.length : overlap)) who.add(Math.floor(next() * accuracies.length));
    return [...who].map((labeler): Judgement => {
      const seen = see(quality, accuracies[labeler] as number, next);
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

/**
 * Lets simulated labelers rank the tasks of a project in a label store, which assigns them as it does to people. Besides
 * `tasks` the project has as many tasks with a known answer as `goldRate` asks for.
 */
export async function simulateRankingsInStore(simulation: Simulation): Promise<Judgement[]> {
  const { completions, accuracies, tasks, overlap, goldRate, seed } = simulation;
  const next = uniform(seed);
  const store = await LabelStore.open(":memory:", Date.now, next);
  const owner = await store.addUser(null, { name: "owner", role: "owner" });
  const project = await store.addProject(owner.id, {
    name: "rankings",
    settings: { kind: "ranking", overlap, maxOverlap: overlap, goldRate, repeatRate: 0 },
  });
  const known = Math.ceil((tasks * overlap * goldRate) / accuracies.length);
  await store.addTasks(
    owner.id,
    project,
    Array.from({ length: tasks + known }, (_, i) => {
      const quality = Array.from({ length: completions }, () => normal(next));
      return {
        messages: [{ role: "user" as const, content: `task ${i}` }],
        // A labeler is shown texts, here of the quality.
        completions: quality.map((value) => ({ text: String(value) })),
        ...(i >= tasks && { gold: { ranks: rank(quality) } }),
      };
    }),
  );
  const users = [];
  for (const place of accuracies.keys())
    users.push(await store.addUser(owner.id, { name: `labeler ${place}`, role: "labeler" }));
  for (let judged = true; judged; ) {
    judged = false;
    // The driver frees its statements between turns of the event loop, and SQLite's promises alone never end a turn.
    await setImmediate();
    for (const [place, user] of users.entries()) {
      const task = await nextTask(store, project, user);
      if (!task) continue;
      judged = true;
      const answer = { ranks: rank(see(task.completions.map(Number), accuracies[place] as number, next)) };
      await submitJudgement(store, task.lease, user.id, answer, 1);
    }
  }
  const places = new Map(users.map(({ id }, place) => [id, String(place)]));
  const judgements = await readJudgements(store, project.id);
  await store.close();
  return judgements.map((judgement) => ({
    ...judgement,
    labeler: places.get(judgement.labeler) as string,
  }));
}
