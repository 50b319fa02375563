import { describe, expect, it } from "vitest";
import { simulateRankings } from "../../test/simulated-labelers.ts";
import { unprovenWeight } from "../statistics/reliability.ts";
import type { Judgement } from "./judgements.ts";
import { pairwisePreferences } from "./pairwise-preferences.ts";
import { labelerReliabilities, labelerWeights } from "./weights.ts";

const judgement = (labeler: string, task: number, ranks: number[], gold?: number[]): Judgement => ({
  id: `${task} ${labeler}`,
  task: String(task),
  labeler,
  answer: { ranks },
  // Shown in either order: who always prefers what is on the left could have a bias.
  order:
    (task + labeler.charCodeAt(0)) % 2
      ? ranks.map((_, place) => place)
      : ranks.map((_, place) => place).reverse(),
  seconds: 1,
  at: task,
  repeat: false,
  source: null,
  gold: gold && { ranks: gold },
  preferences: pairwisePreferences({ ranks }),
});
const nine = [1, 2, 3, 4, 5, 6, 7, 8, 9];

describe("weights of labelers with known answers", () => {
  it("stay high for two who agree on all, in spite of known rankings that are wrong in one pair of 36", () => {
    const all = Array.from({ length: 50 }, (_, task) =>
      ["a", "b"].map((who) => judgement(who, task, nine)),
    ).flat();
    const swapped = [2, 1, 3, 4, 5, 6, 7, 8, 9];
    const known = [50, 51, 52, 53].flatMap((task) =>
      ["a", "b"].map((who) => judgement(who, task, swapped, nine)),
    );
    for (const weight of labelerWeights([...all, ...known]).values()) expect(weight).toBeGreaterThan(0.9);
  });

  it("stay high for people who agree with each other, if a few pairwise known answers are all wrong", () => {
    const pair = (who: string, task: number, gold?: number[]) => judgement(who, task, [1, 2], gold);
    const all = Array.from({ length: 100 }, (_, task) =>
      ["a", "b", "c"].map((who) => pair(who, task)),
    ).flat();
    const known = [100, 101, 102].flatMap((task) => ["a", "b", "c"].map((who) => pair(who, task, [2, 1])));
    for (const weight of labelerWeights([...all, ...known]).values()) expect(weight).toBeGreaterThan(0.8);
  });

  it("are 0 for two adversaries who agree with each other, if many known answers say so", () => {
    const reversed = [...nine].reverse();
    const all = Array.from({ length: 100 }, (_, task) =>
      ["a", "b"].map((who) => judgement(who, task, [1, 2])),
    ).flat();
    const known = Array.from({ length: 20 }, (_, i) =>
      ["a", "b"].map((who) => judgement(who, 100 + i, reversed, nine)),
    ).flat();
    expect([...labelerWeights([...all, ...known]).values()]).toEqual([0, 0]);
  });

  it("are those of the unproven while too little is known", () => {
    // Three tasks, all against the others.
    const few = [0, 1, 2].flatMap((task) => [
      judgement("a", task, [1, 2]),
      judgement("b", task, [1, 2]),
      judgement("c", task, [2, 1]),
    ]);
    expect(labelerReliabilities(few).get("c")?.high).toBe(1);
    expect(labelerWeights(few).get("c")).toBeCloseTo(unprovenWeight, 12);
  });

  // A part of `npm run check:weights`, which runs ten seeds of every size and rate.
  it.each([2, 3, 5, 9])("of rankings of %i: careful, careless and adversarial labelers", (completions) => {
    for (const goldRate of [0.02, 0.05, 0.2])
      for (const seed of [1, 2]) {
        const accuracies = [0.95, 0.9, 0.8, 0.7, 0.9, 0.05];
        const weights = labelerWeights(
          simulateRankings({ completions, accuracies, tasks: 240, overlap: 2, goldRate, seed }),
        );
        const found = accuracies.map((_, k) => weights.get(String(k)) as number);
        const [adversary, ...others] = found.toReversed() as [number, ...number[]];
        expect(adversary).toBeLessThan(unprovenWeight / 2);
        for (const weight of others) expect(weight).toBeGreaterThanOrEqual(unprovenWeight - 1e-12);
      }
  });
});
