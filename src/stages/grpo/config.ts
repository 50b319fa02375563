import { z } from "zod";
import { learning, sampledRun, sampling } from "../settings.ts";

/** What an algorithm is made of; each can also be chosen by itself. */
const choices = {
  /**
   * What a response is better than: the mean of all responses to its prompt, the mean of the others, or the mean of all
   * earlier responses to anything.
   */
  baseline: z.enum(["group", "leaveOneOut", "running"]),
  /** Divides advantages by the deviation of the prompt's scores, of the batch's, or not. */
  scale: z.enum(["group", "batch", "none"]),
  /** Of each token, of a response as the mean over its tokens (GSPO), or of a response as a whole. */
  ratio: z.enum(["token", "sequenceMean", "sequence"]),
  /** What a token counts: 1 / tokens of its response, 1 / tokens of the batch, or 1 / maxTokens. */
  length: z.enum(["response", "batch", "constant"]),
  clipLow: z.number().positive(),
  clipHigh: z.number().positive(),
  /** β. 0 does without a reference. */
  klCoef: z.number().min(0),
  /** KL to the reference in the loss, by the k3 estimate, or taken off the score, by k1. */
  klIn: z.enum(["loss", "score"]),
  /** Samples again in place of prompts whose responses all score the same: nothing is learned from them. */
  dynamicSampling: z.boolean(),
  /** Learns nothing from responses without a stop token. */
  maskUnfinished: z.boolean(),
};
type Choices = { [K in keyof typeof choices]: z.output<(typeof choices)[K]> };

const grpo: Choices = {
  baseline: "group",
  scale: "group",
  ratio: "token",
  length: "response",
  clipLow: 0.2,
  clipHigh: 0.2,
  klCoef: 0.04,
  klIn: "loss",
  dynamicSampling: false,
  maskUnfinished: false,
};

/** Shao et al. 2024, eq. 3; Liu et al. 2025, §3.2; Yu et al. 2025, §3; Ahmadian et al. 2024, §3; Zheng et al. 2025 (GSPO), eq. 5. */
export const algorithms = {
  grpo,
  drGrpo: { ...grpo, scale: "none", length: "constant", klCoef: 0 },
  dapo: {
    ...grpo,
    length: "batch",
    clipHigh: 0.28,
    klCoef: 0,
    dynamicSampling: true,
    maskUnfinished: true,
  },
  gspo: { ...grpo, ratio: "sequenceMean", clipLow: 3e-4, clipHigh: 4e-4, klCoef: 0 },
  rloo: { ...grpo, baseline: "leaveOneOut", scale: "none", ratio: "sequence", klCoef: 0.05, klIn: "score" },
  reinforce: { ...grpo, baseline: "running", scale: "none", ratio: "sequence", klCoef: 0.05, klIn: "score" },
} satisfies Record<string, Choices>;

/** Settings of policy gradients without a critic. */
export const grpoConfig = z.object({
  algorithm: z.enum(Object.keys(algorithms) as [keyof typeof algorithms]).default("grpo"),
  ...(z.object(choices).partial().shape as {
    [K in keyof typeof choices]: z.ZodOptional<(typeof choices)[K]>;
  }),
  learningRate: z.number().positive().default(1e-6),
  /** Responses to each prompt of a step. */
  samplesPerPrompt: z.int().positive().default(8),
  /** Passes over each batch of responses. */
  epochs: z.int().positive().default(1),
  /** Responses an optimiser step; by default the batch. */
  miniBatchSize: z.int().positive().optional(),
  /** Tokens computed at once; changes memory and speed, not the result. */
  microBatchTokens: z.int().positive().default(1024),
  /** Score of a response without a stop token, in place of its own. */
  missingEosScore: z.number().optional(),
  /** Taken off the score of a response without a stop token. */
  missingEosPenalty: z.number().min(0).default(0),
  /** Over the last so many of `maxTokens`, takes up to 1 off the score (DAPO's soft overlong punishment). */
  overlongTokens: z.int().positive().optional(),
  ...learning,
  ...sampling,
  ...sampledRun,
});
/** The same as they are given: what has a default may be left out. */
export type GrpoSettings = z.input<typeof grpoConfig>;
/** Settings with what their algorithm is made of, where nothing else was chosen. */
export type GrpoConfig = z.output<typeof grpoConfig> & Choices;

export function withAlgorithm(config: z.output<typeof grpoConfig>): GrpoConfig {
  const chosen = Object.entries(config).filter(([, value]) => value !== undefined);
  return { ...algorithms[config.algorithm], ...Object.fromEntries(chosen) } as GrpoConfig;
}
