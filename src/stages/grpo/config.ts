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

/** What an algorithm is made of; each can also be chosen by itself. */
const choices = {
  baseline: z
    .enum(["group", "leaveOneOut", "running"])
    .describe(
      "Baseline of the advantage: the mean score of all responses to the prompt (group), of the other ones (leaveOneOut), or of all earlier responses (running)",
    ),
  scale: z
    .enum(["group", "batch", "none"])
    .describe(
      "Divides advantages by the standard deviation of the prompt's scores (group), of the batch's scores (batch), or not (none)",
    ),
  ratio: z
    .enum(["token", "sequenceMean", "sequence"])
    .describe(
      "Importance ratio: of each token (token), of the response as the geometric mean of its tokens' (sequenceMean, as in GSPO), or of the whole response (sequence)",
    ),
  length: z
    .enum(["response", "batch", "constant"])
    .describe(
      "Weight of a token in the loss: 1 / tokens of its response (response), 1 / tokens of the batch (batch), or 1 / maxTokens (constant)",
    ),
  clipLow: z
    .number()
    .positive()
    .describe("Lower clip range: the ratio is clipped to at least 1 − this value"),
  clipHigh: z
    .number()
    .positive()
    .describe("Upper clip range: the ratio is clipped to at most 1 + this value"),
  klCoef: z
    .number()
    .min(0)
    .describe("Coefficient of the KL penalty (β); with 0 no reference model is loaded"),
  klIn: z
    .enum(["loss", "score"])
    .describe(
      "Adds the KL penalty to the loss (k3 estimator), or subtracts it from the score (k1 estimator)",
    ),
  dynamicSampling: z
    .boolean()
    .describe(
      "Replaces prompts whose responses all have the same score, and so have no gradient, by other prompts (DAPO)",
    ),
  maskUnfinished: z.boolean().describe("Leaves responses without a stop token out of the loss"),
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
  algorithm: z
    .enum(Object.keys(algorithms) as [keyof typeof algorithms])
    .default("grpo")
    .describe(
      "Algorithm: sets baseline, scale, ratio, length, the clip ranges and the KL penalty as in its paper",
    ),
  ...(z.object(choices).partial().shape as {
    [K in keyof typeof choices]: z.ZodOptional<(typeof choices)[K]>;
  }),
  learningRate: learningRate.default(1e-6),
  samplesPerPrompt: samplesPerPrompt.default(8),
  epochs: z.int().positive().default(1).describe("Epochs over each batch of responses"),
  miniBatchSize: z.int().positive().optional().describe("Responses per optimiser step. Default: batchSize"),
  microBatchTokens: microBatchTokens.default(1024),
  missingEosScore: missingEosScore.optional(),
  missingEosPenalty: missingEosPenalty.default(0),
  overlongTokens: z
    .int()
    .positive()
    .optional()
    .describe(
      "Length of the interval before maxTokens in which the score is reduced by up to 1, in tokens (soft overlong punishment of DAPO)",
    ),
  ...learning,
  ...sampling,
  ...sampledRun,
});
/** Input type of the config: settings with defaults are optional. */
export type GrpoSettings = z.input<typeof grpoConfig>;
/** Settings with those that their algorithm sets, where nothing else was chosen. */
export type GrpoConfig = z.output<typeof grpoConfig> & Choices;

export function withAlgorithm(config: z.output<typeof grpoConfig>): GrpoConfig {
  const chosen = Object.entries(config).filter(([, value]) => value !== undefined);
  return { ...algorithms[config.algorithm], ...Object.fromEntries(chosen) } as GrpoConfig;
}
