import { z } from "zod";
import { learning, passes } from "../settings.ts";

/** Settings of supervised fine-tuning. */
export const sftConfig = z.object({
  epochs: z.number().positive().default(3),
  learningRate: z.number().positive().default(2e-5),
  schedule: z.enum(["constant", "linear", "cosine"]).default("cosine"),
  /** Share of the steps over which the learning rate rises. */
  warmupRatio: z.number().min(0).max(1).default(0.05),
  /** Demonstrations a step. */
  batchSize: z.int().positive().default(16),
  /** Learns the prompts too. */
  trainOnPrompt: z.boolean().default(false),
  weightDecay: z.number().min(0).default(0),
  /** Share of the prompts held out for the evaluation loss. */
  heldOut: z.number().min(0).lt(1).default(0.05),
  ...learning,
  ...passes,
});
export type SftConfig = z.output<typeof sftConfig>;
/** The same as they are given: what has a default may be left out. */
export type SftSettings = z.input<typeof sftConfig>;
