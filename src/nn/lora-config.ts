import { z } from "zod";

/** Settings of low-rank adapters; PEFT's names. */
export const loraConfig = z.object({
  rank: z.int().positive().default(16),
  /** The adapters' part is multiplied by alpha / rank. */
  alpha: z.number().positive().default(32),
  /** Linear layers that get one, by the last part of their names; by default all in the blocks. */
  targets: z.array(z.string().min(1)).min(1).optional(),
});
export type LoraConfig = z.output<typeof loraConfig>;
