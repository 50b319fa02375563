import { z } from "zod";
import { loraConfig } from "../nn/lora-config.ts";

// Settings that several stages have, with the defaults that they share.

/** How weights learn. */
export const learning = {
  /** Trains low-rank adapters in place of all weights; wants about ten times the learning rate. */
  lora: loraConfig.optional(),
  /** Rounds the frozen weights under the adapters to so many bits (QLoRA): less memory, some more time. */
  quantise: z.literal([8, 4]).optional(),
  /** Computes each block again for its gradient in place of keeping what it made: less memory, a third more time. */
  gradientCheckpointing: z.boolean().default(false),
  maxGradNorm: z.number().positive().default(1),
  seed: z.int().default(0),
};

/** Passes over a set of data. */
export const passes = {
  /** Tokens computed at once; more than fit are accumulated. Changes memory and speed, not the result. */
  microBatchTokens: z.int().positive().default(512),
  /** What makes a longer sequence is dropped and counted. */
  maxLength: z.int().positive().default(1024),
  /** Steps between evaluations; by default once an epoch. */
  evalEvery: z.int().positive().optional(),
  /** Steps between checkpoints; by default once an epoch. */
  saveEvery: z.int().positive().optional(),
  keepCheckpoints: z.int().positive().default(1),
};

/** How stages that sample do it, with the defaults that they share. */
export const sampling = {
  temperature: z.number().positive().default(1),
  topK: z.int().positive().optional(),
  topP: z.number().positive().max(1).optional(),
  maxTokens: z.int().positive().default(128),
  minTokens: z.int().min(0).default(0),
  /** Texts that end a response, besides the model's stop tokens. */
  stop: z.array(z.string().min(1)).optional(),
  /** Rows sampled together. */
  rolloutBatchSize: z.int().positive().default(64),
};

/** A run of steps that sample, score and learn. */
export const sampledRun = {
  steps: z.int().positive().default(100),
  /** Responses a step. */
  batchSize: z.int().positive().default(64),
  schedule: z.enum(["constant", "linear", "cosine"]).default("linear"),
  /** Starts from a model that never had SFT. */
  allowNoSft: z.boolean().default(false),
  /** Steps between checkpoints. */
  saveEvery: z.int().positive().default(50),
  /** Responses of each step that are logged as samples. */
  logSamples: z.int().min(0).default(2),
  keepCheckpoints: z.int().positive().default(1),
};
