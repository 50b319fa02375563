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
  | { type: "sample"; step: number; prompt: string; response: string; finished?: boolean; score?: number }
  | { type: "resumed"; step: number }
  | { type: "interrupted"; step: number }
  | { type: "done"; step: number; metrics: Metrics };

/** Values by name, such as `objective/kl`; names are TRL's where the meaning is the same. */
export type Metrics = Record<string, number>;
