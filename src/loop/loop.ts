import { mkdirSync, rmSync } from "node:fs";
import type { Event } from "../run/events.ts";
import { takeLock } from "../run/lock.ts";
import { Interrupted } from "../run/training.ts";
import type { LoopRecipe } from "./config.ts";
import { files, makeRound, openState, writeJson } from "./files.ts";
import { completeStep, isRejected, type LoopState, type Next, nextStep, type Results } from "./state.ts";
import { type LoopContext, policyBefore, takeStep, type Waiting } from "./steps.ts";

export interface LoopOptions {
  /** Directory of the loop, in which each round has its own. */
  run: string;
  signal?: AbortSignal | undefined;
  /** Called when work begins, with what it is. */
  onPhase?: (what: string) => void;
  /** Called with the events of the trainings. */
  onEvent?: (event: Event) => void;
}

/** How far a loop is. */
export interface LoopReport {
  state: "done" | "waiting";
  /** Why it is done. */
  reason?: string;
  /** Tasks that people have to judge before it goes on. */
  waiting?: Waiting;
  /** The newest policy that was accepted. */
  policy: string;
  rounds: (Results & { accepted: boolean })[];
}

/**
 * Iterative RLHF (Bai et al. 2022, §4.5; Touvron et al. 2023, §3.2.3): rounds of sampling from the current policy,
 * labels, a reward model on the labels of all rounds, PPO or GRPO, and evaluation against the last round's policy. The
 * state is saved after each step; a loop that was ended in any way goes on from there when it is called again. Where
 * people have to label, it returns what is missing.
 * @throws InputError for wrong input or another recipe than the loop began with, Interrupted when `signal` was aborted
 */
export async function runLoop(recipe: LoopRecipe, options: LoopOptions): Promise<LoopReport> {
  const { run, signal, onPhase = () => {}, onEvent = () => {} } = options;
  mkdirSync(run, { recursive: true });
  const { lock, state: path } = files(run);
  takeLock(lock);
  let at = "its preparation";
  try {
    const context: LoopContext = {
      ...recipe,
      ...{ run, signal, onEvent, onPhase: (what) => onPhase(`${at}: ${what}`) },
      state: await openState(run, recipe),
    };
    const save = (state: LoopState) => {
      context.state = state;
      writeJson(path, state);
    };
    for (;;) {
      const next = nextStep(context.state, recipe.config);
      if ("ended" in next) return reportOn(context, next);
      at = `round ${next.round}`;
      signal?.throwIfAborted();
      makeRound(run, next.round);
      const { results, waiting, project } = await takeStep[next.step](context, next.round);
      if (project !== undefined) save({ ...context.state, project });
      if (waiting) return reportOn(context, next, waiting);
      save(completeStep(context.state, next, results));
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
    throw new Interrupted(`interrupted in ${at}; to go on, run the same command again`);
  } finally {
    rmSync(lock, { force: true });
  }
}

const reasons = {
  "all rounds": "all rounds are done",
  "no better": "the last round's policy is not shown to be better",
  worse: "the last round's policy is worse",
};

function reportOn(context: LoopContext, next: Next, waiting?: Waiting): LoopReport {
  const { state, config } = context;
  return {
    ...("ended" in next ? { state: "done", reason: reasons[next.ended] } : { state: "waiting" }),
    ...(waiting && { waiting }),
    policy: policyBefore(context),
    rounds: state.rounds.map(({ done, ...results }) => ({
      ...results,
      accepted: done.includes("judge") && !isRejected(results, config),
    })),
  };
}
