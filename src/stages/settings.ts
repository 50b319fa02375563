import { z } from "zod";
import { loraConfig } from "../nn/lora-config.ts";
import { rewardSpec } from "../rewards/config.ts";

// Settings that several stages have, with the defaults that they share. Each describes itself: `--help` and the docs
// read it from here.

export const learningRate = z.number().positive().describe("Peak learning rate");
export const schedule = z
  .enum(["constant", "linear", "cosine"])
  .describe("Learning rate after the warm-up: constant, or falling to 0 linearly or as half a cosine");
export const weightDecay = z.number().min(0).describe("Weight decay of AdamW, on matrices only");
export const heldOut = z.number().min(0).lt(1).describe("Share of the prompts held out for evaluation");
export const epochs = z.number().positive().describe("Passes over the data");
export const warmupRatio = z
  .number()
  .min(0)
  .max(1)
  .describe("Share of the steps in which the learning rate rises from 0");
export const samplesPerPrompt = z.int().positive().describe("Responses per prompt");
export const missingEosPenalty = z
  .number()
  .min(0)
  .describe("Subtracted from the score of a response without a stop token");
export const missingEosScore = z.number().describe("Replaces the score of a response without a stop token");
export const microBatchTokens = z
  .int()
  .positive()
  .describe(
    "Tokens per forward and backward pass; affects memory and speed, and the result by rounding alone, which in bfloat16 grows with their number",
  );

/** How weights learn. */
export const learning = {
  lora: loraConfig
    .optional()
    .describe("Trains low-rank adapters instead of all weights; needs about ten times the learning rate"),
  quantise: z
    .literal([8, 4])
    .optional()
    .describe("Bits per frozen weight under the adapters (QLoRA): less memory, a little slower"),
  gradientCheckpointing: z
    .boolean()
    .default(false)
    .describe("Recomputes activations in the backward pass: less memory, a third more time"),
  maxGradNorm: z
    .number()
    .positive()
    .default(1)
    .describe("Maximum norm of the gradient: larger ones are scaled down to it"),
  seed: z.int().default(0).describe("Random seed"),
};

const keepCheckpoints = z
  .int()
  .positive()
  .default(1)
  .describe("Number of newest checkpoints that are not deleted");

/** Passes over a set of data. */
export const passes = {
  microBatchTokens: microBatchTokens.default(512),
  maxLength: z
    .int()
    .positive()
    .default(1024)
    .describe("Maximum tokens of a prompt with its completion; longer ones are dropped"),
  maxSteps: z.int().positive().optional().describe("Maximum number of steps. Default: those of all epochs"),
  evalEvery: z.int().positive().optional().describe("Steps between evaluations. Default: one epoch"),
  saveEvery: z.int().positive().optional().describe("Steps between checkpoints. Default: one epoch"),
  keepCheckpoints,
};

/** How stages that sample do it, with the defaults that they share. */
export const sampling = {
  temperature: z.number().positive().default(1).describe("Divides the logits before sampling"),
  topK: z
    .int()
    .positive()
    .optional()
    .describe("Samples from this many most likely tokens only; biases the gradient"),
  topP: z
    .number()
    .positive()
    .max(1)
    .optional()
    .describe("Samples from the most likely tokens with this total probability only; biases the gradient"),
  maxTokens: z.int().positive().default(128).describe("Maximum tokens of a response"),
  minTokens: z
    .int()
    .min(0)
    .default(0)
    .describe("Minimum tokens of a response: no stop token is sampled before"),
  stop: z
    .array(z.string().min(1))
    .optional()
    .describe("Texts that end a response, in addition to the model's stop tokens"),
  rolloutBatchSize: z.int().positive().default(64).describe("Responses decoded together"),
};

export type SamplingConfig = z.infer<z.ZodObject<typeof sampling>>;

/** Picks the options of a sampler out of a stage's settings. */
export function samplingOptions(config: SamplingConfig) {
  const { temperature, topK, topP, maxTokens, minTokens, stop, rolloutBatchSize: batchSize } = config;
  return { temperature, topK, topP, maxTokens, minTokens, stop, batchSize };
}

/** How a stage that samples is watched for over-optimisation. */
export const monitor = z.strictObject({
  gold: rewardSpec
    .optional()
    .describe(
      "What the policy does not learn from: a program, a larger reward model, an ensemble; written as a reward",
    ),
  judge: z
    .strictObject({
      model: z.string().describe("Judge: name, Hub id, folder or run, or the server's model"),
      constitution: z.string().describe("YAML file of the principles to judge by"),
      endpoint: z.string().optional().describe("OpenAI-compatible server that has the model"),
    })
    .optional()
    .describe("In place of gold: a model that compares each response with the one before training"),
  every: z.int().positive().default(8).describe("Steps between checks"),
  prompts: z
    .string()
    .optional()
    .describe("File of prompts that are answered at every check. Default: the first of the stage's prompts"),
  promptCount: z.int().min(2).default(100).describe("Number of these prompts"),
  samples: z
    .int()
    .min(2)
    .default(4)
    .describe("Responses to each: one half chooses the best check, the other tests whether gold fell since"),
  maxTokens: z
    .int()
    .positive()
    .optional()
    .describe("Maximum tokens of these responses. Default: the stage's, or 128"),
  temperature: z
    .number()
    .positive()
    .optional()
    .describe("Temperature of these responses. Default: the stage's, or 1"),
  maxKl: z
    .number()
    .positive()
    .optional()
    .describe("KL to the reference that raises an alarm, nats per response"),
  onAlarm: z
    .enum(["log", "stop", "keepBest"])
    .default("log")
    .describe(
      "After an alarm about gold or the KL: go on (log), end the run (stop), or end it with the weights of the best check (keepBest), which a run without an alarm ends with too",
    ),
});
export type MonitorConfig = z.output<typeof monitor>;

/** A run of steps that sample, score and learn. */
export const sampledRun = {
  steps: z.int().positive().default(100).describe("Number of steps; each samples, scores and learns"),
  batchSize: z.int().positive().default(64).describe("Responses per step"),
  schedule: schedule.default("linear"),
  allowNoSft: z.boolean().default(false).describe("Allows a policy without supervised fine-tuning"),
  saveEvery: z.int().positive().default(50).describe("Steps between checkpoints"),
  logSamples: z.int().min(0).default(2).describe("Responses per step that are logged as samples"),
  monitor: monitor
    .optional()
    .describe("Watches for over-optimisation: at checks, fixed prompts are answered and measured"),
  keepCheckpoints,
};
