import { z } from "zod";
import { learning, sampledRun, sampling } from "../settings.ts";

// What is given a model takes it as it is.
const { quantise, ...stepLearning } = learning;

/** Settings of one PPO step: what `ppoTrainer` takes. */
export const ppoStepConfig = z.object({
  learningRate: z.number().positive().default(1e-6),
  /** A network of its own, or a head on the policy's hidden states: one backbone for both, less work and memory. */
  critic: z.enum(["separate", "shared"]).default("separate"),
  /** The critic's, or its head's; by default the policy's. */
  criticLearningRate: z.number().positive().optional(),
  /** Passes over each batch of responses. */
  ppoEpochs: z.int().positive().default(4),
  /** Responses an optimiser step. */
  miniBatchSize: z.int().positive().default(16),
  /** Tokens computed at once; changes memory and speed, not the result. */
  microBatchTokens: z.int().positive().default(1024),
  /** β₀: weight of the KL penalty. */
  initKlCoef: z.number().min(0).default(0.2),
  /** Adapts β to hold the KL at `targetKl`. */
  adaptiveKl: z.boolean().default(true),
  /** Nats a response. */
  targetKl: z.number().positive().default(6),
  /** Responses over which β may change by 20 %. */
  klHorizon: z.number().positive().default(10_000),
  klEstimator: z.enum(["k1", "k2", "k3", "abs", "full"]).default("k1"),
  /**
   * By running mean and deviation, by the deviation alone, or not at all. `perPrompt` first takes off the mean of the
   * other responses to the prompt: what a reward model adds to all answers of a prompt is then no noise.
   */
  normaliseScores: z.enum(["meanStd", "std", "perPrompt", "none"]).default("meanStd"),
  /** Clips normalised scores to ± this. */
  scoreClip: z.number().positive().optional(),
  /** Score of a response without a stop token, in place of its own. */
  missingEosScore: z.number().optional(),
  /** Taken off the score of a response without a stop token. */
  missingEosPenalty: z.number().min(0).optional(),
  gamma: z.number().min(0).max(1).default(1),
  lambda: z.number().min(0).max(1).default(0.95),
  /** Scales rewards to variance 1 without moving their mean. */
  whitenRewards: z.boolean().default(false),
  whitenAdvantages: z.boolean().default(true),
  clipRange: z.number().positive().default(0.2),
  valueClipRange: z.number().positive().default(0.2),
  vfCoef: z.number().positive().default(0.1),
  entropyCoef: z.number().min(0).default(0),
  /** γ of PPO-ptx: weight of the language-modelling loss mixed in (InstructGPT: 27.8). Needs `ptxData`. */
  ptxCoef: z.number().min(0).default(0),
  /** Ends a batch's passes when the approximate KL to the policy it was sampled from is over this. */
  stopKl: z.number().positive().optional(),
  /** First steps in which the critic alone learns. */
  criticWarmup: z.int().min(0).default(0),
  ...stepLearning,
  ...sampling,
});
export type PpoStepConfig = z.output<typeof ppoStepConfig>;
/** The same as they are given: what has a default may be left out. */
export type PpoStepSettings = z.input<typeof ppoStepConfig>;

/** Settings of a PPO run. */
export const ppoConfig = z.object({
  ...ppoStepConfig.shape,
  quantise,
  /** Responses to each prompt of a step. */
  samplesPerPrompt: z.int().positive().default(1),
  ...sampledRun,
});
export type PpoConfig = z.output<typeof ppoConfig>;
/** The same as they are given: what has a default may be left out. */
export type PpoSettings = z.input<typeof ppoConfig>;
