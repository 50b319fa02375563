import { z } from "zod";
import {
  learning,
  learningRate,
  microBatchTokens,
  missingEosPenalty,
  sampledRun,
  samplesPerPrompt,
  sampling,
} from "../settings.ts";

/** Settings of online preference optimisation: pairs of the policy's own responses, ordered by a reward. */
export const onlineConfig = z.object({
  loss: z.enum(["sigmoid", "hinge", "ipo", "robust"]).default("sigmoid").describe("Loss: DPO or a variant"),
  beta: z
    .number()
    .positive()
    .default(0.1)
    .describe("Strength of the constraint to the reference (β); τ of IPO"),
  labelSmoothing: z
    .number()
    .min(0)
    .lt(0.5)
    .default(0)
    .describe("Assumed share of pairs in the wrong order: conservative DPO, or unbiased with loss=robust"),
  learningRate: learningRate.default(1e-6),
  samplesPerPrompt: samplesPerPrompt
    .min(2)
    .default(2)
    .describe("Responses per prompt; the best and the worst of them form the pair"),
  microBatchTokens: microBatchTokens.default(512),
  missingEosPenalty: missingEosPenalty.default(0),
  ...learning,
  ...sampling,
  ...sampledRun,
});
export type OnlineConfig = z.output<typeof onlineConfig>;
/** Input type of the config: settings with defaults are optional. */
export type OnlineSettings = z.input<typeof onlineConfig>;
