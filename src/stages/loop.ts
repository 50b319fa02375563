import type { Event, Metrics } from "../run/events.ts";
import type { Warning } from "../run/warnings.ts";

/** What a step returns. */
export interface StepResult<State> {
  metrics: Metrics;
  /** Fields of the state that the step changed. */
  state?: Partial<State>;
  /** Logged before the step itself. */
  samples?: Iterable<Event>;
  warnings?: readonly Warning[];
}

/** What an evaluation found. */
interface Measured {
  metrics: Metrics;
  /** Whether the model is the best so far. */
  best?: boolean;
  warnings?: readonly Warning[];
  /** Whether to end the run here. */
  stop?: boolean;
}

/** A measurement of the model between steps. */
export interface Evaluation {
  /** Steps between measurements; one follows the last step. */
  every: number;
  /** What is done, for the log. */
  what: string;
  measure: () => Measured | Promise<Measured>;
  /** Whether to measure now, before the next step. */
  isFirstDue?: () => boolean;
  /** Takes over the weights of a checkpoint: the run then ends with those of its best one. */
  restoreBest?: ((checkpoint: string) => void) | undefined;
}

export interface Loop<State> {
  saveEvery: number;
  /** Takes one step. It must leave `state` alone; an abort may end it at any time before it changes weights. */
  step: () => StepResult<State> | Promise<StepResult<State>>;
  /** Those that are undefined are left out. */
  evaluations?: readonly (Evaluation | undefined)[];
  /** Work that follows the last step and belongs into the last checkpoint. */
  ending?: () => AsyncGenerator<Event>;
}
