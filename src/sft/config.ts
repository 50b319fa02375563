import { z } from "zod";
import { loraConfig } from "../nn/lora-config.ts";

/** Settings of supervised fine-tuning. */
export const sftConfig = z.object({
  epochs: z.number().positive().default(3),
  learningRate: z.number().positive().default(2e-5),
  /** Trains low-rank adapters in place of all weights; wants about ten times the learning rate. */
  lora: loraConfig.optional(),
  /** Rounds the frozen weights under the adapters to so many bits (QLoRA): less memory, some more time. */
  quantise: z.literal([8, 4]).optional(),
  schedule: z.enum(["constant", "linear", "cosine"]).default("cosine"),
  /** Share of the steps over which the learning rate rises. */
  warmupRatio: z.number().min(0).max(1).default(0.05),
  /** Demonstrations a step. */
  batchSize: z.int().positive().default(16),
  /** Tokens computed at once; more demonstrations than fit are accumulated. Changes memory and speed, not the result. */
  microBatchTokens: z.int().positive().default(512),
  /** Computes each block again for its gradient in place of keeping what it made: less memory, a third more time. */
  gradientCheckpointing: z.boolean().default(false),
  /** Demonstrations of more tokens are dropped and counted. */
  maxLength: z.int().positive().default(1024),
  /** Learns the prompts too. */
  trainOnPrompt: z.boolean().default(false),
  weightDecay: z.number().min(0).default(0),
  maxGradNorm: z.number().positive().default(1),
  /** Share of the prompts held out for the evaluation loss. */
  heldOut: z.number().min(0).lt(1).default(0.05),
  /** Steps between evaluations; by default once an epoch. */
  evalEvery: z.int().positive().optional(),
  /** Steps between checkpoints; by default once an epoch. */
  saveEvery: z.int().positive().optional(),
  keepCheckpoints: z.int().positive().default(1),
  seed: z.int().default(0),
});
export type SftConfig = z.output<typeof sftConfig>;
/** The same as they are given: what has a default may be left out. */
export type SftSettings = z.input<typeof sftConfig>;
