import { z } from "zod";
import {
  epochs,
  learning,
  learningRate,
  microBatchTokens,
  missingEosPenalty,
  sampledRun,
  samplesPerPrompt,
  sampling,
  schedule,
  warmupRatio,
  weightDecay,
} from "../settings.ts";

const { allowNoSft, saveEvery, logSamples, keepCheckpoints, monitor } = sampledRun;

/** Settings of rejection sampling. */
export const rejectionConfig = z.object({
  rounds: z
    .int()
    .positive()
    .default(1)
    .describe("Rounds of sampling and learning; each samples from the policy that the last one made"),
  promptsPerRound: z.int().positive().optional().describe("Prompts of a round. Default: all prompts"),
  samplesPerPrompt: samplesPerPrompt.default(8),
  keep: z
    .enum(["best", "above"])
    .default("best")
    .describe(
      "Responses to learn from: the one with the highest score of each prompt (best), or all with a score of `bar` or more (above)",
    ),
  bar: z.number().optional().describe("Lowest score to learn from, with keep=above"),
  missingEosPenalty: missingEosPenalty.default(0),
  epochs: epochs.default(1).describe("Passes over the kept responses of a round"),
  batchSize: z
    .int()
    .positive()
    .default(16)
    .describe("Prompts per learning step, each with its kept responses"),
  learningRate: learningRate.default(2e-5),
  schedule: schedule.default("cosine"),
  warmupRatio: warmupRatio.default(0.05),
  weightDecay: weightDecay.default(0),
  microBatchTokens: microBatchTokens.default(512),
  ...learning,
  ...sampling,
  allowNoSft,
  saveEvery,
  logSamples,
  keepCheckpoints,
  monitor,
});
export type RejectionConfig = z.output<typeof rejectionConfig>;
/** Input type of the config: settings with defaults are optional. */
export type RejectionSettings = z.input<typeof rejectionConfig>;
