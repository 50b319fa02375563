import { z } from "zod";
import {
  learning,
  learningRate,
  microBatchTokens,
  missingEosPenalty,
  missingEosScore,
  sampledRun,
  samplesPerPrompt,
  sampling,
} from "../settings.ts";

// A loaded Model is used as is, so `quantise` is a setting of the run and not of a step.
const { quantise, ...stepLearning } = learning;

/** Settings of one PPO step: those that `PpoTrainer` takes. */
export const ppoStepConfig = z.object({
  learningRate: learningRate.default(1e-6),
  critic: z
    .enum(["separate", "shared"])
    .default("separate")
    .describe("A network of its own, or a head on the policy's hidden states: less work and memory"),
  criticLearningRate: z
    .number()
    .positive()
    .optional()
    .describe("Learning rate of the critic or its head. Default: the policy's"),
  ppoEpochs: z.int().positive().default(4).describe("Passes over each batch of responses"),
  miniBatchSize: z.int().positive().default(16).describe("Responses an optimiser step"),
  microBatchTokens: microBatchTokens.default(1024),
  initKlCoef: z.number().min(0).default(0.2).describe("Weight of the KL penalty (β) at the beginning"),
  adaptiveKl: z.boolean().default(true).describe("Adapts β to hold the KL at targetKl"),
  targetKl: z
    .number()
    .positive()
    .default(6)
    .describe("KL to the reference that β is adapted to, in nats a response"),
  klHorizon: z.number().positive().default(10_000).describe("Responses over which β may change by 20 %"),
  klEstimator: z
    .enum(["k1", "k2", "k3", "abs", "full"])
    .default("k1")
    .describe("How the KL of a token is estimated; full sums over the vocabulary"),
  normaliseScores: z
    .enum(["meanStd", "std", "perPrompt", "none"])
    .default("meanStd")
    .describe(
      "Normalises scores by their running mean and deviation, by the deviation alone, or not; perPrompt first takes off the mean of the other responses to the prompt",
    ),
  scoreClip: z.number().positive().optional().describe("Clips normalised scores to ± this"),
  missingEosScore: missingEosScore.optional(),
  missingEosPenalty: missingEosPenalty.optional(),
  gamma: z.number().min(0).max(1).default(1).describe("Discount of later rewards (γ)"),
  lambda: z.number().min(0).max(1).default(0.95).describe("λ of generalised advantage estimation"),
  whitenRewards: z
    .boolean()
    .default(false)
    .describe("Scales rewards to variance 1 without moving their mean"),
  whitenAdvantages: z
    .boolean()
    .default(true)
    .describe("Brings advantages to mean 0, variance 1 over the batch"),
  clipRange: z.number().positive().default(0.2).describe("Clips the policy's probability ratio to 1 ± this"),
  valueClipRange: z.number().positive().default(0.2).describe("Clips new values to the old ones ± this"),
  vfCoef: z.number().positive().default(0.1).describe("Weight of the value loss"),
  entropyCoef: z.number().min(0).default(0).describe("Weight of an entropy bonus"),
  ptxCoef: z
    .number()
    .min(0)
    .default(0)
    .describe(
      "Weight of the language-modelling loss mixed in (PPO-ptx's γ; InstructGPT: 27.8). Needs ptxData",
    ),
  stopKl: z
    .number()
    .positive()
    .optional()
    .describe("Ends the passes over a batch when the approximate KL to the sampling policy exceeds this"),
  criticWarmup: z.int().min(0).default(0).describe("First steps in which the critic alone learns"),
  ...stepLearning,
  ...sampling,
});
export type PpoStepConfig = z.output<typeof ppoStepConfig>;
/** Input type of the config: settings with defaults are optional. */
export type PpoStepSettings = z.input<typeof ppoStepConfig>;

/** Settings of a PPO run. */
export const ppoConfig = z.object({
  ...ppoStepConfig.shape,
  quantise,
  samplesPerPrompt: samplesPerPrompt.default(1),
  ...sampledRun,
});
export type PpoConfig = z.output<typeof ppoConfig>;
/** Input type of the config: settings with defaults are optional. */
export type PpoSettings = z.input<typeof ppoConfig>;
