import { z } from "zod";
import {
  epochs,
  heldOut,
  learning,
  learningRate,
  passes,
  schedule,
  warmupRatio,
  weightDecay,
} from "../settings.ts";

/** Settings of preference optimisation. */
export const dpoConfig = z.object({
  loss: z
    .enum(["sigmoid", "hinge", "ipo", "robust", "simpo", "orpo", "kto"])
    .default("sigmoid")
    .describe(
      "What is minimised: DPO (sigmoid) or a variant; kto learns from thumbs up and down; simpo and orpo need no reference",
    ),
  beta: z
    .number()
    .positive()
    .default(0.1)
    .describe("How strongly the policy is held to the reference; IPO's τ, SimPO's reward scale, ORPO's λ"),
  labelSmoothing: z
    .number()
    .min(0)
    .lt(0.5)
    .default(0)
    .describe(
      "Share of comparisons taken to be the wrong way round: conservative DPO, unbiased with loss=robust",
    ),
  targetMargin: z
    .number()
    .min(0)
    .default(0.5)
    .describe("SimPO's γ: by how much the better completion should win"),
  desirableWeight: z
    .number()
    .positive()
    .default(1)
    .describe("KTO's λ_D: weight of completions that were found good"),
  undesirableWeight: z
    .number()
    .positive()
    .default(1)
    .describe("KTO's λ_U: weight of completions that were found bad"),
  epochs: epochs.default(1),
  learningRate: learningRate.default(1e-6),
  schedule: schedule.default("linear"),
  warmupRatio: warmupRatio.default(0.1),
  batchSize: z.int().positive().default(16).describe("Prompts a step, each with all its completions"),
  weightDecay: weightDecay.default(0),
  heldOut: heldOut.default(0.05),
  ...learning,
  ...passes,
});
export type DpoConfig = z.output<typeof dpoConfig>;
/** Input type of the config: settings with defaults are optional. */
export type DpoSettings = z.input<typeof dpoConfig>;
