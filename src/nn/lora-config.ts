import { z } from "zod";

/** Settings of low-rank adapters (LoRA), under PEFT's names. */
export const loraConfig = z.object({
  rank: z.int().positive().default(16).describe("Rank of the adapters"),
  alpha: z.number().positive().default(32).describe("The adapters' output is multiplied by alpha / rank"),
  targets: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe("Linear layers with an adapter, by the last part of their names. Default: all in the blocks"),
});
export type LoraConfig = z.output<typeof loraConfig>;
