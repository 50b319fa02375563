import { z } from "zod";
import { loraConfig } from "./lora-config.ts";

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
