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
    .describe(
      "A separate network, or a value head on the policy's hidden states, which takes less time and memory",
    ),
  criticLearningRate: z
    .number()
    .positive()
    .optional()
    .describe("Learning rate of the critic or the value head. Default: learningRate"),
  ppoEpochs: z.int().positive().default(4).describe("Epochs over each batch of responses"),
  miniBatchSize: z.int().positive().default(16).describe("Responses per optimiser step"),
  microBatchTokens: microBatchTokens.default(1024),
  initKlCoef: z.number().min(0).default(0.2).describe("Initial coefficient of the KL penalty (β)"),
  adaptiveKl: z.boolean().default(true).describe("Adapts β to keep the KL at targetKl"),
  targetKl: z
    .number()
    .positive()
    .default(6)
    .describe("Target KL to the reference for the adaptive β, in nats per response"),
  klHorizon: z
    .number()
    .positive()
    .default(10_000)
    .describe("Number of responses over which β may change by 20 %"),
  klEstimator: z
    .enum(["k1", "k2", "k3", "abs", "full"])
    .default("k1")
    .describe("Estimator of the KL of each token; full is exact, a sum over the vocabulary"),
  normaliseScores: z
    .enum(["meanStd", "std", "perPrompt", "none"])
    .default("meanStd")
    .describe(
      "Normalises scores by their running mean and standard deviation (meanStd), by the standard deviation only (std), or not (none); perPrompt first subtracts the mean score of the other responses to the prompt",
    ),
  scoreClip: z.number().positive().optional().describe("Clips normalised scores to ± this value"),
  missingEosScore: missingEosScore.optional(),
  missingEosPenalty: missingEosPenalty.optional(),
  gamma: z.number().min(0).max(1).default(1).describe("Discount factor of rewards (γ)"),
  lambda: z.number().min(0).max(1).default(0.95).describe("λ of generalised advantage estimation"),
  whitenRewards: z
    .boolean()
    .default(false)
    .describe("Scales rewards to variance 1, without shifting their mean"),
  whitenAdvantages: z
    .boolean()
    .default(true)
    .describe("Normalises advantages to mean 0 and variance 1 over the batch"),
  clipRange: z.number().positive().default(0.2).describe("Clips the probability ratio to 1 ± this value"),
  valueClipRange: z
    .number()
    .positive()
    .default(0.2)
    .describe("Clips value predictions to the old ones ± this value"),
  vfCoef: z.number().positive().default(0.1).describe("Weight of the value loss"),
  entropyCoef: z.number().min(0).default(0).describe("Weight of the entropy bonus"),
  ptxCoef: z
    .number()
    .min(0)
    .default(0)
    .describe("Weight of the language-modelling loss on ptxData (γ of PPO-ptx; 27.8 in InstructGPT)"),
  stopKl: z
    .number()
    .positive()
    .optional()
    .describe(
      "Stops the epochs over a batch early when the approximate KL to the sampling policy exceeds this value",
    ),
  criticWarmup: z.int().min(0).default(0).describe("Number of first steps that train the critic only"),
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
