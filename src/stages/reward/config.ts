import { z } from "zod";
import { learning, passes } from "../settings.ts";

/** Settings of reward modelling. */
export const rewardConfig = z.object({
  /** More than one overfits. */
  epochs: z.number().positive().default(1),
  learningRate: z.number().positive().default(1e-5),
  schedule: z.enum(["constant", "linear", "cosine"]).default("linear"),
  warmupRatio: z.number().min(0).max(1).default(0.05),
  /** Prompts a step, each with all its completions. */
  batchSize: z.int().positive().default(16),
  /**
   * The fresh head: random with deviation 0.02 (the textbook) or 1/√(hidden + 1) (OpenAI's), or fitted to the
   * comparisons on the model's hidden states as they are, which with few comparisons is the better start.
   */
  headInit: z.enum(["textbook", "openai", "probe"]).default("textbook"),
  weightDecay: z.number().min(0).default(0.01),
  heldOut: z.number().min(0).lt(1).default(0.1),
  /** Reference samples that set mean 0 and deviation 1 of the scores; 0 leaves them as they are. */
  normaliseSamples: z.int().min(0).default(128),
  /** Tokens of a reference sample. */
  sampleTokens: z.int().positive().default(128),
  ...learning,
  ...passes,
});
export type RewardConfig = z.output<typeof rewardConfig>;
/** The same as they are given: what has a default may be left out. */
export type RewardSettings = z.input<typeof rewardConfig>;
