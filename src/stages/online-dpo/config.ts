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
  loss: z
    .enum(["sigmoid", "hinge", "ipo", "robust"])
    .default("sigmoid")
    .describe("What is minimised: DPO or a variant"),
  beta: z
    .number()
    .positive()
    .default(0.1)
    .describe("How strongly the policy is held to the reference; IPO's τ"),
  labelSmoothing: z
    .number()
    .min(0)
    .lt(0.5)
    .default(0)
    .describe("Share of pairs taken to be the wrong way round: conservative DPO, unbiased with loss=robust"),
  learningRate: learningRate.default(1e-6),
  samplesPerPrompt: samplesPerPrompt
    .min(2)
    .default(2)
    .describe("Responses to each prompt of a step: the best of them is set against the worst"),
  microBatchTokens: microBatchTokens.default(512),
  missingEosPenalty: missingEosPenalty.default(0),
  ...learning,
  ...sampling,
  ...sampledRun,
});
export type OnlineConfig = z.output<typeof onlineConfig>;
/** Input type of the config: settings with defaults are optional. */
export type OnlineSettings = z.input<typeof onlineConfig>;
