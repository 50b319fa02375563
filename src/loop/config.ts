import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { rewardSpec } from "../rewards/config.ts";
import { parseConfig } from "../run/config.ts";
import { grpoConfig } from "../stages/grpo/config.ts";
import { columns, sftModel } from "../stages/inputs.ts";
import { ppoConfig } from "../stages/ppo/config.ts";
import { rewardConfig } from "../stages/reward/config.ts";
import { samplesPerPrompt, sampling } from "../stages/settings.ts";

const share = z
  .number()
  .positive()
  .default(1)
  .describe("Weight of these labelers: they judge this part of a round's prompts, of the sum of all weights");

const simulated = z.object({
  reward: rewardSpec.describe("Reward that stands in for a labeler's judgement"),
  noise: z
    .number()
    .min(0)
    .default(0)
    .describe("Standard deviation of the normal noise on each score that the labeler sees"),
  tieMargin: z
    .number()
    .min(0)
    .default(0)
    .describe("Scores that the labeler sees tie if they differ by at most this"),
  share,
});
const ai = z.object({
  model: z.string().describe("Judge: name, Hub id, folder or run, or the server's model"),
  constitution: z.string().describe("YAML file of the principles to judge by"),
  endpoint: z.string().optional().describe("OpenAI-compatible server that has the model"),
  share,
});
const people = z.object({
  store: z.string().default("labels.db").describe("Label store: an SQLite file or a Postgres address"),
  project: z.string().default("loop").describe("Project in the store; it is made if there is none"),
  judgementsPerTask: z.int().min(1).max(50).default(1).describe("Labelers of each task"),
  share,
});
export type SimulatedConfig = z.output<typeof simulated>;
export type AiConfig = z.output<typeof ai>;
export type PeopleConfig = z.output<typeof people>;

/** Recipe of iterative RLHF. */
export const loopConfig = z.object({
  policy: sftModel.describe("SFT model that the first round begins from: name, Hub id, folder or run"),
  prompts: z.string().describe("file of prompts"),
  columns,
  rounds: z.int().positive().default(3).describe("Maximum number of rounds"),
  stop: z
    .enum(["unlessBetter", "ifWorse", "never"])
    .default("unlessBetter")
    .describe(
      "Stops after a round whose policy is not shown to be better than the last (the interval of its win rate reaches one half or below), after one whose policy is shown to be worse, or never before the last round",
    ),
  seed: z.int().default(0).describe("Random seed; each round adds its number"),
  allowNoSft: z.boolean().default(false).describe("Allows a policy without supervised fine-tuning"),
  sampling: z
    .object({
      promptsPerRound: z
        .int()
        .positive()
        .optional()
        .describe("Prompts whose answers are compared in a round. Default: all that are not held out"),
      samplesPerPrompt: samplesPerPrompt.min(2).max(9).default(4),
      ...sampling,
    })
    .prefault({})
    .describe("How answers are sampled, to be compared, in PPO or GRPO, and in the evaluation"),
  labelers: z
    .object({ simulated: simulated.optional(), ai: ai.optional(), people: people.optional() })
    .describe("Who compares the answers: one of these, or several that share the prompts"),
  reward: rewardConfig.prefault({}).describe("Settings of the reward model"),
  ppo: ppoConfig.optional().describe("Settings of PPO"),
  grpo: grpoConfig.optional().describe("Settings of GRPO, in place of PPO"),
  evaluation: z
    .object({
      prompts: z.string().optional().describe("file of held-out prompts. Default: a share of the prompts"),
      heldOut: z
        .number()
        .positive()
        .lt(1)
        .default(0.2)
        .describe("Share of the prompts that is held out, without a file of them"),
      samples: z.int().positive().default(1).describe("Answers of each policy to each held-out prompt"),
      reward: rewardSpec
        .optional()
        .describe(
          "Reward that judges the answers. Default: the labelers; of several kinds people, else the AI. Simulated labelers judge without noise",
        ),
    })
    .prefault({})
    .describe("How a round's policy is compared with the last one"),
});
export type LoopConfig = z.output<typeof loopConfig>;

/** A recipe with its defaults, and as it was written: settings that a recipe leaves out are the stage's to fill in. */
export interface LoopRecipe {
  config: LoopConfig;
  written: Record<string, unknown>;
}

/** Checks a recipe. @param where its file, for errors @throws InputError with every mistake in it */
export function parseLoop(written: Record<string, unknown>, where = "loop"): LoopRecipe {
  const config = parseConfig(loopConfig, written, where);
  if ((config.ppo === undefined) === (config.grpo === undefined))
    throw new InputError(
      `${where}: give settings of one optimiser: ppo or grpo; "ppo: {}" has all its defaults`,
    );
  if (!Object.values(config.labelers).some(Boolean))
    throw new InputError(`${where}: labelers: nobody compares the answers: give simulated, ai or people`);
  return { config, written };
}
