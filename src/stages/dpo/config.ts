import { z } from "zod";
import {
  epochs,
  heldOut,
  learning,
  learningRate,
  monitor,
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
      "Loss: DPO (sigmoid) or a variant; kto learns from thumbs up and down; simpo and orpo need no reference model",
    ),
  beta: z
    .number()
    .positive()
    .default(0.1)
    .describe("Strength of the constraint to the reference (β); τ of IPO, reward scale of SimPO, λ of ORPO"),
  labelSmoothing: z
    .number()
    .min(0)
    .lt(0.5)
    .default(0)
    .describe(
      "Assumed share of comparisons with swapped labels: conservative DPO, or unbiased with loss=robust",
    ),
  targetMargin: z
    .number()
    .min(0)
    .default(0.5)
    .describe("Target reward margin of the better completion (γ of SimPO)"),
  desirableWeight: z.number().positive().default(1).describe("Weight of good completions (λ_D of KTO)"),
  undesirableWeight: z.number().positive().default(1).describe("Weight of bad completions (λ_U of KTO)"),
  epochs: epochs.default(1),
  learningRate: learningRate.default(1e-6),
  schedule: schedule.default("linear"),
  warmupRatio: warmupRatio.default(0.1),
  batchSize: z.int().positive().default(16).describe("Prompts per step, each with all its completions"),
  weightDecay: weightDecay.default(0),
  heldOut: heldOut.default(0.05),
  monitor: monitor
    .optional()
    .describe(
      "Watches for over-optimisation: at checks, fixed prompts are answered and measured; the proxy is the KL to the reference, which DPO's implied reward is a multiple of",
    ),
  ...learning,
  ...passes,
});
export type DpoConfig = z.output<typeof dpoConfig>;
/** Input type of the config: settings with defaults are optional. */
export type DpoSettings = z.input<typeof dpoConfig>;
