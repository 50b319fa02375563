import { z } from "zod";
import {
  epochs,
  heldOut,
  learning,
  learningRate,
  passes,
  schedule,
  warmupRatio,
  weightDecay,
} from "../settings.ts";

/** Settings of supervised fine-tuning. */
export const sftConfig = z.object({
  epochs: epochs.default(3),
  learningRate: learningRate.default(2e-5),
  schedule: schedule.default("cosine"),
  warmupRatio: warmupRatio.default(0.05),
  batchSize: z.int().positive().default(16).describe("Demonstrations per step"),
  turns: z
    .enum(["all", "last"])
    .optional()
    .describe("Assistant turns to learn of a conversation in `messages` or `conversations`. Default: all"),
  trainOnPrompt: z.boolean().default(false).describe("Computes the loss on prompt tokens too"),
  weightDecay: weightDecay.default(0),
  heldOut: heldOut.default(0.05),
  ...learning,
  ...passes,
});
export type SftConfig = z.output<typeof sftConfig>;
/** Input type of the config: settings with defaults are optional. */
export type SftSettings = z.input<typeof sftConfig>;
