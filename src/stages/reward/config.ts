import { z } from "zod";
import { combine, penalty } from "../../models/ensemble-config.ts";
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
  batchSize: z.int().positive().default(16).describe("Prompts per step, each with all its completions"),
  headInit: z
    .enum(["textbook", "openai", "probe"])
    .default("textbook")
    .describe(
      "Initialisation of the score head: normal with standard deviation 0.02 (textbook) or 1/√(hidden + 1) (openai), or fitted to the comparisons on the frozen model's hidden states (probe), which is better with few comparisons",
    ),
  weightDecay: weightDecay.default(0.01),
  heldOut: heldOut.default(0.1),
  members: z
    .int()
    .min(2)
    .optional()
    .describe(
      "Trains an ensemble of this many reward models, each on prompts drawn with replacement and with a head of its own; with lora they share the base's weights. Default: a single model",
    ),
  combine: combine.optional(),
  penalty: penalty.optional(),
  normaliseSamples: z
    .int()
    .min(0)
    .default(128)
    .describe(
      "Number of samples from the base model on which scores are normalised to mean 0 and standard deviation 1; 0 turns normalisation off",
    ),
  sampleTokens: z.int().positive().default(128).describe("Maximum length of these samples, in tokens"),
  ...learning,
  ...passes,
});
export type RewardConfig = z.output<typeof rewardConfig>;
/** Input type of the config: settings with defaults are optional. */
export type RewardSettings = z.input<typeof rewardConfig>;
