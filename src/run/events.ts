import type { Message } from "../data/records.ts";

/**
 * What a trainer tells while it works. Steps count optimiser or PPO steps from 1; 0 is before the first.
 * In the files each line also has `time` (ISO 8601), and a number that is NaN or infinite is null.
 */
export type Event =
  | { type: "start"; stage: string; total: number }
  | { type: "step"; step: number; total: number; metrics: Metrics }
  | { type: "eval"; step: number; metrics: Metrics }
  /** Work without steps begins. */
  | { type: "phase"; what: string }
  | { type: "warning"; code: string; message: string }
  | { type: "checkpoint"; step: number; path: string }
  | SampleEvent
  | { type: "resumed"; step: number }
  | { type: "interrupted"; step: number }
  | { type: "done"; step: number; metrics: Metrics };

/** A completion that a step learned from. Runs of format 1 have the first five fields alone. */
export interface SampleEvent {
  type: "sample";
  step: number;
  /** The last message of the prompt. */
  prompt: string;
  response: string;
  finished?: boolean;
  score?: number;
  /** Unique in the run. */
  id?: string;
  /** Id of the prompt, where the data has one. */
  promptId?: string;
  /** The whole prompt. */
  messages?: Message[];
  /** Score of each part of a reward that has several, by its name. */
  parts?: Record<string, number>;
  /** Its tokens, and what belongs to each: a list for each name, such as `logprobs`, `refLogprobs`, `values`. */
  tokens?: { ids: number[]; mask: number[]; logprobs: number[] } & Record<string, number[]>;
}

/** Values by name, such as `objective/kl`; names are TRL's where the meaning is the same. */
export type Metrics = Record<string, number>;
