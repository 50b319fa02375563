import { describe, expect, it } from "vitest";
import { agreementByGroup } from "./group-agreement.ts";
import { uniform } from "./random.ts";

/** How likely labelers of each group are to be right; and for each task, whether the second group wants the opposite. */
interface Planted {
  accuracies: readonly (readonly number[])[];
  opposed?: number;
  tasks?: number;
}

/** Each task has two labelers by lot. */
function simulate({ accuracies, opposed = 0, tasks = 400 }: Planted, seed: number) {
  const next = uniform(seed);
  const raters = accuracies.flatMap((group, g) =>
    group.map((accuracy, i) => ({ rater: `${g} ${i}`, group: `${g}`, accuracy })),
  );
  return agreementByGroup(
    Array.from({ length: tasks }, (_, cluster) => {
      const isOpposed = next() < opposed;
      const first = Math.floor(next() * raters.length);
      const second = (first + 1 + Math.floor(next() * (raters.length - 1))) % raters.length;
      const ratings = [first, second].map((place) => {
        const { rater, group, accuracy } = raters[place] as (typeof raters)[number];
        const isRight = next() < accuracy;
        const sign = isRight === (isOpposed && group === "1") ? -1 : 1;
        return { rater, group, answer: sign, sign };
      });
      return { cluster, ratings };
    }),
  );
}

const alarms = (planted: (seed: number) => Planted, simulations = 200) =>
  Array.from({ length: simulations }, (_, seed) => simulate(planted(seed), seed)).filter(
    ({ difference }) => (difference.pValue ?? 1) < 0.05,
  ).length / simulations;

const same = (accuracy: number, labelers: number) => new Array<number>(labelers).fill(accuracy);

describe("the difference between groups", () => {
  // 5 % of 200 and three standard deviations: 9.6 %. An interval over tasks alarmed in every one.
  it("is no alarm where a careful group and a careless one have the same preferences", () => {
    const accuracies = [same(0.95, 5), same(0.65, 5)];
    expect(alarms(() => ({ accuracies }))).toBeLessThan(0.096);
    const { within, across, difference } = simulate({ accuracies, tasks: 20_000 }, 1);
    // Agreement (0.905 + 0.545) / 2 within and 0.635 across; reliability explains all of it.
    expect((within.value?.value as number) - (across.value?.value as number)).toBeGreaterThan(0.06);
    expect(Math.abs(difference.value as number)).toBeLessThan(0.03);
  });

  it("is no alarm where the careful group is the smaller one", () => {
    expect(alarms(() => ({ accuracies: [same(0.9, 4), same(0.6, 8)] }))).toBeLessThan(0.096);
  });

  it("is no alarm where uneven labelers are divided by lot", () => {
    const uneven = (seed: number): Planted => {
      const next = uniform(1000 + seed);
      const accuracies = Array.from({ length: 10 }, () => 0.55 + 0.4 * next());
      return { accuracies: [accuracies.slice(0, 5), accuracies.slice(5)] };
    };
    expect(alarms(uneven)).toBeLessThan(0.096);
  });

  it("finds preferences that differ", () => {
    const power = (accuracy: number) =>
      alarms(() => ({ accuracies: [same(0.9, 6), same(accuracy, 6)], opposed: 0.3, tasks: 800 }), 50);
    expect(power(0.9)).toBeGreaterThan(0.9);
    expect(power(0.8)).toBeGreaterThan(0.8);
  });

  it("has no p-value where labelers are too few for one", () => {
    const { difference } = simulate({ accuracies: [same(0.9, 3), same(0.9, 3)], opposed: 0.5 }, 1);
    expect(difference).toEqual({
      value: expect.any(Number),
      reason: "too few labelers to say: they can be divided in 10 ways",
    });
    expect(difference.value).toBeGreaterThan(0.1);
  });
});
