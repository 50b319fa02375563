import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  acceptedRound,
  completeStep,
  emptyState,
  isRejected,
  type LoopState,
  nextStep,
  parseState,
  type Step,
  steps,
  withRecipe,
} from "./state.ts";

const limits = fc.record({
  rounds: fc.integer({ min: 1, max: 5 }),
  stop: fc.constantFrom("unlessBetter" as const, "ifWorse" as const, "never" as const),
});
const winRate = fc
  .tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.double({ min: 0, max: 0.3, noNaN: true }))
  .map(([value, half]) => ({ value, low: value - half, high: value + half }));
const winRates = fc.array(winRate, { minLength: 5, maxLength: 5 });

/** Takes all steps of a loop, through JSON after each. */
function takeAll(rates: readonly { value: number; low: number; high: number }[], limits: Limits) {
  const taken: { round: number; step: Step }[] = [];
  let state = emptyState("loop", { seed: 1 });
  for (;;) {
    const next = nextStep(state, limits);
    if ("ended" in next) return { taken, state, ended: next.ended };
    taken.push(next);
    const measured = next.step === "judge" ? { winRate: rates[next.round - 1] } : {};
    state = parseState(JSON.stringify(completeStep(state, next, measured)), "loop.json");
  }
}
type Limits = Parameters<typeof nextStep>[1];

describe("the steps of a loop", () => {
  it("come in their order, round after round, and the first round predicts nothing", () => {
    fc.assert(
      fc.property(winRates, limits, (rates, limits) => {
        const { taken, state } = takeAll(rates, limits);
        const expected = state.rounds.flatMap((_, i) =>
          steps.filter((step) => i > 0 || step !== "predict").map((step) => ({ round: i + 1, step })),
        );
        expect(taken).toEqual(expected);
        expect(state.rounds.length).toBeLessThanOrEqual(limits.rounds);
      }),
    );
  });

  it("end early after the first policy that is not accepted, and only then", () => {
    fc.assert(
      fc.property(winRates, limits, (rates, limits) => {
        const { state, ended } = takeAll(rates, limits);
        const rejected = rates
          .slice(0, limits.rounds)
          .findIndex((winRate) => isRejected({ winRate }, limits));
        expect(state.rounds.length).toBe(rejected < 0 ? limits.rounds : rejected + 1);
        expect(ended === "all rounds").toBe(rejected < 0);
        expect(acceptedRound(state, limits)).toBe(rejected < 0 ? limits.rounds : rejected);
      }),
    );
  });

  it("begin each round from the policy of the round before", () => {
    fc.assert(
      fc.property(winRates, limits, (rates, limits) => {
        const { state } = takeAll(rates, limits);
        for (const [i] of state.rounds.entries()) expect(acceptedRound(state, limits, i + 1)).toBe(i);
      }),
    );
  });

  it("go on where more rounds are wanted", () => {
    const { state } = takeAll([{ value: 0.9, low: 0.8, high: 1 }], { rounds: 1, stop: "never" });
    expect(nextStep(state, { rounds: 2, stop: "never" })).toEqual({ round: 2, step: "sample" });
  });
});

it.each([
  [
    { value: 0.7, low: 0.6, high: 0.8 },
    { unlessBetter: false, ifWorse: false, never: false },
  ],
  [
    { value: 0.55, low: 0.45, high: 0.65 },
    { unlessBetter: true, ifWorse: false, never: false },
  ],
  [
    { value: 0.3, low: 0.2, high: 0.4 },
    { unlessBetter: true, ifWorse: true, never: false },
  ],
  [
    { value: 0.7, low: Number.NaN, high: Number.NaN },
    { unlessBetter: true, ifWorse: false, never: false },
  ],
])("a win rate of %o is rejected by %o", (winRate, expected) => {
  for (const [stop, rejected] of Object.entries(expected))
    expect(isRejected({ winRate }, { rounds: 1, stop: stop as "never" }), stop).toBe(rejected);
});

it("keeps an interval without ends through JSON", () => {
  const none = { value: 0.7, low: Number.NaN, high: Number.NaN };
  const state: LoopState = completeStep(
    emptyState("loop", {}),
    { round: 1, step: "judge" },
    { winRate: none },
  );
  expect(parseState(JSON.stringify(state), "loop.json").rounds[0]?.winRate).toEqual(none);
});

it("refuses a damaged state, and another recipe but for its limits and trainings", () => {
  expect(() => parseState("{", "runs/loop/loop.json")).toThrow(/runs\/loop\/loop\.json: not the state/);
  const state = emptyState("loop", { policy: "a", rounds: 2 });
  const longer = { policy: "a", rounds: 3, stop: "never", ppo: {} };
  expect(withRecipe(state, longer, "run")).toEqual({ ...state, recipe: longer });
  expect(() => withRecipe(state, { policy: "b", seed: 1 }, "run")).toThrow(/another policy, seed/);
});
