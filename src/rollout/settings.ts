import { z } from "zod";

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
