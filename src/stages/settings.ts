import { z } from "zod";
import { loraConfig } from "../nn/lora-config.ts";

// Settings that several stages have, with the defaults that they share. Each describes itself: `--help` and the docs
// read it from here.

export const learningRate = z.number().positive().describe("Peak learning rate");
export const schedule = z
  .enum(["constant", "linear", "cosine"])
  .describe("How the learning rate goes on after the warm-up: as it is, or to 0 by a line or half a cosine");
export const weightDecay = z.number().min(0).describe("AdamW's weight decay, on matrices alone");
export const heldOut = z
  .number()
  .min(0)
  .lt(1)
  .describe("Share of the prompts that are held out for evaluation");
export const epochs = z.number().positive().describe("Passes over the data");
export const warmupRatio = z
  .number()
  .min(0)
  .max(1)
  .describe("Share of the steps over which the learning rate rises from 0");
export const samplesPerPrompt = z.int().positive().describe("Responses to each prompt of a step");
export const missingEosPenalty = z
  .number()
  .min(0)
  .describe("Taken off the score of a response without a stop token");
export const missingEosScore = z
  .number()
  .describe("Score of a response without a stop token, in place of its own");
export const microBatchTokens = z
  .int()
  .positive()
  .describe("Tokens computed at once; changes memory and speed, not the result");

/** How weights learn. */
export const learning = {
  lora: loraConfig
    .optional()
    .describe("Trains low-rank adapters in place of all weights; takes about ten times the learning rate"),
  quantise: z
    .literal([8, 4])
    .optional()
    .describe("Bits of the frozen weights under the adapters (QLoRA): less memory, some more time"),
  gradientCheckpointing: z
    .boolean()
    .default(false)
    .describe(
      "Computes each block again for its gradient instead of keeping it: less memory, a third more time",
    ),
  maxGradNorm: z
    .number()
    .positive()
    .default(1)
    .describe("Gradients with a larger norm are scaled down to it"),
  seed: z.int().default(0).describe("Seed of everything that is random"),
};

const keepCheckpoints = z.int().positive().default(1).describe("Newest checkpoints that stay on the disk");

/** Passes over a set of data. */
export const passes = {
  microBatchTokens: microBatchTokens.default(512),
  maxLength: z
    .int()
    .positive()
    .default(1024)
    .describe("Tokens of a prompt and its completion; longer ones are dropped"),
  evalEvery: z.int().positive().optional().describe("Steps between evaluations. Default: once an epoch"),
  saveEvery: z.int().positive().optional().describe("Steps between checkpoints. Default: once an epoch"),
  keepCheckpoints,
};

/** How stages that sample do it, with the defaults that they share. */
export const sampling = {
  temperature: z.number().positive().default(1).describe("Divides the logits before sampling"),
  topK: z
    .int()
    .positive()
    .optional()
    .describe("Samples among this many likeliest tokens; biases the gradient"),
  topP: z
    .number()
    .positive()
    .max(1)
    .optional()
    .describe("Samples among the likeliest tokens of this probability together; biases the gradient"),
  maxTokens: z.int().positive().default(128).describe("Most tokens of a response"),
  minTokens: z
    .int()
    .min(0)
    .default(0)
    .describe("Fewest tokens of a response: no stop token is sampled before"),
  stop: z
    .array(z.string().min(1))
    .optional()
    .describe("Texts that end a response, besides the model's stop tokens"),
  rolloutBatchSize: z.int().positive().default(64).describe("Responses sampled together"),
};

/** Picks the options of a sampler out of a stage's settings. */
export function samplingOptions(config: z.infer<z.ZodObject<typeof sampling>>) {
  const { temperature, topK, topP, maxTokens, minTokens, stop, rolloutBatchSize: batchSize } = config;
  return { temperature, topK, topP, maxTokens, minTokens, stop, batchSize };
}

/** A run of steps that sample, score and learn. */
export const sampledRun = {
  steps: z.int().positive().default(100).describe("Steps of sampling, scoring and learning"),
  batchSize: z.int().positive().default(64).describe("Responses a step"),
  schedule: schedule.default("linear"),
  allowNoSft: z.boolean().default(false).describe("Allows a policy that never had supervised fine-tuning"),
  saveEvery: z.int().positive().default(50).describe("Steps between checkpoints"),
  logSamples: z.int().min(0).default(2).describe("Responses of each step that are logged as samples"),
  keepCheckpoints,
};
