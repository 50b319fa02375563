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
      "What a response is compared with: the mean of all responses to its prompt, of the others, or of all earlier responses",
    ),
  scale: z
    .enum(["group", "batch", "none"])
    .describe("Divides advantages by the deviation of the prompt's scores, of the batch's, or not"),
  ratio: z
    .enum(["token", "sequenceMean", "sequence"])
    .describe(
      "Probability ratio of each token, of a response as the mean over its tokens (GSPO), or as a whole",
    ),
  length: z
    .enum(["response", "batch", "constant"])
    .describe("Weight of a token: 1 / tokens of its response, 1 / tokens of the batch, or 1 / maxTokens"),
  clipLow: z.number().positive().describe("Clips the ratio to 1 − this from below"),
  clipHigh: z.number().positive().describe("Clips the ratio to 1 + this from above"),
  klCoef: z.number().min(0).describe("Weight of the KL penalty (β); 0 needs no reference"),
  klIn: z
    .enum(["loss", "score"])
    .describe("Puts the KL penalty in the loss, by the k3 estimate, or takes it off the score, by k1"),
  dynamicSampling: z
    .boolean()
    .describe(
      "Samples other prompts in place of those whose responses all score the same and so teach nothing",
    ),
  maskUnfinished: z.boolean().describe("Learns nothing from responses without a stop token"),
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
    .describe("Sets baseline, scale, ratio, length, clips and KL as its paper does"),
  ...(z.object(choices).partial().shape as {
    [K in keyof typeof choices]: z.ZodOptional<(typeof choices)[K]>;
  }),
  learningRate: learningRate.default(1e-6),
  samplesPerPrompt: samplesPerPrompt.default(8),
  epochs: z.int().positive().default(1).describe("Passes over each batch of responses"),
  miniBatchSize: z.int().positive().optional().describe("Responses an optimiser step. Default: the batch"),
  microBatchTokens: microBatchTokens.default(1024),
  missingEosScore: missingEosScore.optional(),
  missingEosPenalty: missingEosPenalty.default(0),
  overlongTokens: z
    .int()
    .positive()
    .optional()
    .describe(
      "Takes up to 1 off the score over the last so many of maxTokens (DAPO's soft overlong punishment)",
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
