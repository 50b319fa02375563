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

/** Settings of reward modelling. */
export const rewardConfig = z.object({
  epochs: epochs.default(1).describe("Passes over the data; more than one overfits"),
  learningRate: learningRate.default(1e-5),
  schedule: schedule.default("linear"),
  warmupRatio: warmupRatio.default(0.05),
  batchSize: z.int().positive().default(16).describe("Prompts a step, each with all its completions"),
  headInit: z
    .enum(["textbook", "openai", "probe"])
    .default("textbook")
    .describe(
      "How the scalar head begins: random with deviation 0.02 (textbook) or 1/√(hidden + 1) (openai), or fitted to the comparisons on the hidden states as they are (probe), the better start with few comparisons",
    ),
  weightDecay: weightDecay.default(0.01),
  heldOut: heldOut.default(0.1),
  normaliseSamples: z
    .int()
    .min(0)
    .default(128)
    .describe(
      "Samples of the base model on which scores are brought to mean 0, deviation 1; 0 leaves scores as they are",
    ),
  sampleTokens: z.int().positive().default(128).describe("Most tokens of such a sample"),
  ...learning,
  ...passes,
});
export type RewardConfig = z.output<typeof rewardConfig>;
/** Input type of the config: settings with defaults are optional. */
export type RewardSettings = z.input<typeof rewardConfig>;
