import { describe, expect, it } from "vitest";
import { normal, uniform } from "../statistics/random.ts";
import {
  alarms,
  type Check,
  fallProbability,
  monitorMetrics,
  type PromptMeasures,
  remember,
} from "./monitor.ts";

const check = (step: number, prompts: Partial<PromptMeasures>[], more: Partial<Check> = {}): Check => ({
  step,
  prompts: prompts.map((measures) => ({
    proxy: 0,
    chosenBy: 0,
    testedBy: 0,
    kl: 0,
    tokens: 10,
    ...measures,
  })),
  entropy: 1,
  sameBeginning: 0.1,
  sameEnding: 0.1,
  repetition: 0,
  ...more,
});

describe("the probability of a fall", () => {
  // Student's t of one degree of freedom is Cauchy's distribution: P(T < −1) = 1/4, P(T < −√3) = 1/6.
  it.each([
    [[0, -1], 1 / 4],
    [[(1 - Math.sqrt(3)) / (1 + Math.sqrt(3)), -1], 1 / 6],
    [[1, -1], 1 / 2],
    [[0, 1], 3 / 4],
  ])("of %j is %f", (differences, probability) => {
    expect(fallProbability(differences)).toBeCloseTo(probability, 12);
  });

  it("is 0 or 1 for differences that do not vary", () => {
    expect(fallProbability([-1, -1])).toBe(0);
    expect(fallProbability([0, 0])).toBe(1);
  });
});

/** Simulates runs of 20 checks with 50 prompts of 4 answers, whose gold has the mean `goldAt`; returns where each alarmed. */
function simulate(runs: number, goldAt: (step: number) => number): (number | undefined)[] {
  const next = uniform(1);
  const checks = 20;
  return Array.from({ length: runs }, () => {
    const difficulty = Array.from({ length: 50 }, () => normal(next));
    const measure = (step: number) =>
      check(
        step,
        difficulty.map((easy) => {
          // Half of the answers have half of the variance of one.
          const half = () => goldAt(step) + easy + normal(next) / Math.SQRT2;
          return { proxy: step, chosenBy: half(), testedBy: half() };
        }),
      );
    let state = remember(undefined, measure(0));
    for (let step = 1; step <= checks; step++) {
      const now = measure(step);
      if (alarms(state, now, { checks }).some(({ stops }) => stops)) return step;
      state = remember(state, now);
    }
    return undefined;
  });
}
const share = (runs: readonly (number | undefined)[]) =>
  runs.filter((step) => step !== undefined).length / runs.length;

describe("the test of gold at every check", () => {
  it("raises a false alarm in 5 % of healthy runs at most", () => {
    // Of 2,000 runs 3.1, 0.6 and 2.6 %, and without dividing the level 38, 22 and 33 %. Of 400: 5 % and two standard errors.
    expect(share(simulate(400, () => 0))).toBeLessThan(0.072);
    expect(share(simulate(400, (step) => 0.05 * step))).toBeLessThan(0.072);
    expect(share(simulate(400, (step) => Math.min(0.5, 0.1 * step)))).toBeLessThan(0.072);
  });

  it("finds a fall, and not before the peak", () => {
    const steps = simulate(200, (step) => 1 - ((step - 8) / 8) ** 2);
    expect(share(steps)).toBeGreaterThan(0.95);
    expect(steps.filter((step) => (step as number) < 8).length / steps.length).toBeLessThan(0.03);
  });
});

describe("alarms", () => {
  const prompts = (measures: Partial<PromptMeasures>) => Array.from({ length: 10 }, () => measures);
  const first = check(0, prompts({ proxy: 0, chosenBy: 1, testedBy: 1 }));
  const state = remember(undefined, first);
  const codes = (now: Check, options = {}) =>
    alarms(state, now, { checks: 10, ...options }).map(({ code }) => code);

  it("tell a reward that is gamed from a policy that gets worse", () => {
    expect(codes(check(8, prompts({ proxy: 1, chosenBy: 0.5, testedBy: 0.5 })))).toEqual([
      "over-optimisation",
    ]);
    expect(codes(check(8, prompts({ proxy: -1, chosenBy: 0.5, testedBy: 0.5 })))).toEqual(["gold-fell"]);
    expect(codes(check(8, prompts({ proxy: 1, chosenBy: 1, testedBy: 1 })))).toEqual([]);
  });

  const well = { proxy: 1, chosenBy: 1, testedBy: 1 };
  it.each([
    ["kl-budget", check(8, prompts({ ...well, kl: 7 })), { maxKl: 6 }],
    ["length-drift", check(8, prompts({ ...well, tokens: 16 })), {}],
    ["length-drift", check(8, prompts({ ...well, tokens: 6 })), {}],
    ["entropy-collapse", check(8, prompts(well), { entropy: 0.2 }), {}],
    ["same-words", check(8, prompts(well), { sameEnding: 0.6 }), {}],
    ["repetition", check(8, prompts(well), { repetition: 0.3 }), {}],
  ])("%s", (code, now, options) => {
    expect(codes(now, options)).toEqual([code]);
  });

  it("compare an ensemble's disagreement with that before training", () => {
    const start = remember(undefined, { ...first, disagreement: 0.2 });
    const now = (disagreement: number) =>
      alarms(start, check(8, prompts(well), { disagreement }), { checks: 10 }).map(({ code }) => code);
    expect(now(0.5)).toEqual(["disagreement"]);
    expect(now(0.3)).toEqual([]);
  });
});

it("counts the prompts on which the proxy rose and gold fell, which means do not show", () => {
  const start = check(0, [{}, {}, {}, {}]);
  const now = check(8, [
    { proxy: 1, chosenBy: -1, testedBy: -1 },
    { proxy: 1, chosenBy: 3, testedBy: 3 },
    { proxy: -1, chosenBy: -1, testedBy: -1 },
    { proxy: 1, chosenBy: 0, testedBy: 0 },
  ]);
  const state = remember(remember(undefined, start), now);
  const metrics = monitorMetrics(state, now);
  expect(metrics["monitor/proxy_up_gold_down"]).toBe(0.25);
  expect(metrics["monitor/gold"]).toBe(0.25);
  expect(metrics["monitor/best_step"]).toBe(8);
});
