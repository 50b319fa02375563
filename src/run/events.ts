import type { Message } from "../data/records.ts";

/**
 * Event of a training. Steps count optimiser steps (PPO: iterations) from 1; 0 is before the first.
 * In events.jsonl and samples.jsonl each line also has `time` (ISO 8601), and NaN and infinite numbers are null.
 */
export type Event =
  | { type: "start"; stage: string; total: number }
  | { type: "step"; step: number; total: number; metrics: Metrics }
  | { type: "eval"; step: number; metrics: Metrics }
  /** Work that is not counted in steps begins. */
  | { type: "phase"; what: string }
  | { type: "warning"; code: string; message: string }
  | { type: "checkpoint"; step: number; path: string }
  | SampleEvent
  | { type: "resumed"; step: number }
  | { type: "interrupted"; step: number }
  | { type: "done"; step: number; metrics: Metrics };

/** A completion that a step trained on. Runs of format 1 have the first five fields only. */
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
  /** Score of each part by name, if the reward has several. */
  parts?: Record<string, number>;
  /** Standard deviation of the scores of an ensemble's members. */
  disagreement?: number;
  /** Distance from the answers that the reward model learned from, in standard deviations above the usual one. */
  distance?: number;
  /** Token ids, and lists of one value per token, such as `logprobs`, `refLogprobs`, `values`. */
  tokens?: { ids: number[]; mask: number[]; logprobs: number[] } & Record<string, number[]>;
}

/** Metrics by name, such as `objective/kl`. Names are TRL's where the meaning is the same. */
export type Metrics = Record<string, number>;
