import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import type { LoopConfig } from "./config.ts";

// What a loop has done, and what comes next: pure functions. `loop.ts` runs the steps.

/** Steps of a round, in their order. The first round has no reward model yet, and does not take `predict`. */
export const steps = ["sample", "label", "predict", "reward", "optimise", "answer", "judge"] as const;
export type Step = (typeof steps)[number];

// JSON has no NaN, which the ends of an interval of too few prompts are.
const end = z
  .number()
  .nullable()
  .transform((value) => value ?? Number.NaN);
const interval = z.object({ value: end, low: end, high: end });

/** What a round has measured so far. */
const results = z.object({
  /** Comparisons of this round. */
  comparisons: z.int().optional(),
  /** Share of this round's pairs that the last round's reward model orders as the labelers do. */
  prediction: interval.optional(),
  /** Accuracy of the round's reward model on the pairs that it held out, of all rounds. */
  rewardAccuracy: interval.optional(),
  /** KL of the round's policy to the first, in nats per answer. */
  kl: interval.optional(),
  /** Share of the held-out answers of the round's policy that are better than the last policy's. */
  winRate: interval.optional(),
});
export type Results = z.output<typeof results>;

const round = results.extend({ done: z.array(z.enum(steps)) });

const loopState = z.object({
  format: z.literal(1),
  /** Random name of the loop, which tells its tasks in a label store from those of others. */
  id: z.string(),
  /** The recipe as it was written. */
  recipe: z.record(z.string(), z.unknown()),
  /** Id of the project in the label store, once people have tasks there. */
  project: z.string().optional(),
  rounds: z.array(round),
});
export type LoopState = z.output<typeof loopState>;

export const emptyState = (id: string, recipe: Record<string, unknown>): LoopState => ({
  format: 1,
  id,
  recipe,
  rounds: [],
});

/** Parses a state file. @throws InputError if it is damaged, or of a newer version */
export function parseState(text: string, path: string): LoopState {
  try {
    return loopState.parse(JSON.parse(text));
  } catch (error) {
    throw new InputError(
      `${path}: not the state of a loop that this version reads: ${(error as Error).message}`,
    );
  }
}

/** What may change in the recipe of a loop that has begun. */
const changeable = ["rounds", "stop", "reward", "ppo", "grpo"];

/**
 * Goes on with a recipe, of which only the limits and the settings of trainings may differ from the one that the loop
 * began with: a training that has begun refuses other settings by itself.
 * @throws InputError that names what else differs
 */
export function withRecipe(state: LoopState, recipe: Record<string, unknown>, run: string): LoopState {
  const differing = [...new Set([...Object.keys(state.recipe), ...Object.keys(recipe)])].filter(
    (key) => !changeable.includes(key) && !isDeepStrictEqual(state.recipe[key], recipe[key]),
  );
  if (differing.length)
    throw new InputError(
      `${run}: this loop began with another ${differing.join(", ")} (${run}/loop.json has its recipe): only ${changeable.join(", ")} may change; or give another --run`,
    );
  return { ...state, recipe };
}

type Limits = Pick<LoopConfig, "rounds" | "stop">;

/** What is to be done next: a step of a round, counted from 1, or nothing. */
export type Next = { round: number; step: Step } | { ended: "all rounds" | "no better" | "worse" };

/** Finds the next step. */
export function nextStep({ rounds }: LoopState, limits: Limits): Next {
  const last = rounds.at(-1);
  if (!last) return { round: 1, step: "sample" };
  const step = steps.find(
    (name) => !last.done.includes(name) && !(name === "predict" && rounds.length === 1),
  );
  if (step) return { round: rounds.length, step };
  if (isRejected(last, limits)) return { ended: limits.stop === "ifWorse" ? "worse" : "no better" };
  if (rounds.length >= limits.rounds) return { ended: "all rounds" };
  return { round: rounds.length + 1, step: "sample" };
}

/** Whether the loop stops after a round and goes back to the policy before it. */
export function isRejected({ winRate }: Results, { stop }: Limits): boolean {
  if (!winRate || stop === "never") return false;
  return stop === "ifWorse" ? winRate.high < 0.5 : !(winRate.low > 0.5);
}

/** Adds a step's results. */
export function completeStep(
  state: LoopState,
  { round, step }: { round: number; step: Step },
  measured: Results = {},
): LoopState {
  const before = state.rounds[round - 1] ?? { done: [] };
  const done = { ...before, ...measured, done: [...before.done, step] };
  return { ...state, rounds: [...state.rounds.slice(0, round - 1), done] };
}

/** Number of the newest round whose policy was accepted, before round `before`; 0 for the policy that the loop began from. */
export function acceptedRound({ rounds }: LoopState, limits: Limits, before = rounds.length + 1): number {
  return (
    rounds
      .slice(0, before - 1)
      .findLastIndex((round) => round.done.includes("judge") && !isRejected(round, limits)) + 1
  );
}
