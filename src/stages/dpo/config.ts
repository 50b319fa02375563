import { z } from "zod";
import { learning, passes } from "../settings.ts";

/** Settings of preference optimisation. */
export const dpoConfig = z.object({
  /**
   * What is minimised: DPO's `sigmoid` and its variants, `kto` on thumbs up and down; `simpo` and `orpo` do without a
   * reference. See `loss.ts`.
   */
  loss: z.enum(["sigmoid", "hinge", "ipo", "robust", "simpo", "orpo", "kto"]).default("sigmoid"),
  /** How strongly the policy is held to the reference; IPO's τ; the scale of SimPO's reward; ORPO's λ. */
  beta: z.number().positive().default(0.1),
  /** Share of comparisons that are taken to be the wrong way round: conservative DPO, or with `robust` unbiased. */
  labelSmoothing: z.number().min(0).lt(0.5).default(0),
  /** SimPO's γ: by how much the better one should win. */
  targetMargin: z.number().min(0).default(0.5),
  /** KTO's λ_D and λ_U: what a good completion counts, and a bad one. */
  desirableWeight: z.number().positive().default(1),
  undesirableWeight: z.number().positive().default(1),
  epochs: z.number().positive().default(1),
  learningRate: z.number().positive().default(1e-6),
  schedule: z.enum(["constant", "linear", "cosine"]).default("linear"),
  warmupRatio: z.number().min(0).max(1).default(0.1),
  /** Prompts a step, each with all its completions. */
  batchSize: z.int().positive().default(16),
  weightDecay: z.number().min(0).default(0),
  heldOut: z.number().min(0).lt(1).default(0.05),
  ...learning,
  ...passes,
});
export type DpoConfig = z.output<typeof dpoConfig>;
/** The same as they are given: what has a default may be left out. */
export type DpoSettings = z.input<typeof dpoConfig>;
