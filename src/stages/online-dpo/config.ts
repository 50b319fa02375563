import { z } from "zod";
import { learning, sampledRun, sampling } from "../settings.ts";

/** Settings of online preference optimisation: pairs of the policy's own responses, ordered by a reward. */
export const onlineConfig = z.object({
  loss: z.enum(["sigmoid", "hinge", "ipo", "robust"]).default("sigmoid"),
  beta: z.number().positive().default(0.1),
  labelSmoothing: z.number().min(0).lt(0.5).default(0),
  learningRate: z.number().positive().default(1e-6),
  /** Responses to each prompt of a step: the best of them is set against the worst. */
  samplesPerPrompt: z.int().min(2).default(2),
  /** Tokens computed at once; changes memory and speed, not the result. */
  microBatchTokens: z.int().positive().default(512),
  /** Taken off the score of a response without a stop token. */
  missingEosPenalty: z.number().min(0).default(0),
  ...learning,
  ...sampling,
  ...sampledRun,
});
export type OnlineConfig = z.output<typeof onlineConfig>;
/** The same as they are given: what has a default may be left out. */
export type OnlineSettings = z.input<typeof onlineConfig>;
