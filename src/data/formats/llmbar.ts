import { z } from "zod";
import { defineFormat, userMessage } from "./format.ts";

/** LLMBar (Zeng et al. 2023). */
export const llmbar = defineFormat(
  { name: "LLMBar", kind: "comparison", fields: ["input", "output_1", "output_2", "label"], strict: false },
  z.object({ input: z.string(), output_1: z.string(), output_2: z.string(), label: z.int().min(1).max(2) }),
  ({ input, output_1, output_2, label }) => [
    { prompt: [userMessage(input)], completions: [output_1, output_2], ranks: label === 1 ? [0, 1] : [1, 0] },
  ],
);
