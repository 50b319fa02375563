import { z } from "zod";
import { rewardSpec } from "../rewards/config.ts";
import type { Plot } from "../run/report/run.ts";

// Inputs that several stages have, as options of the command line and keys of a recipe.

export const sftModel = z.string().describe("SFT model: name, Hub id, folder or run");

/** Names of the columns of a stage's file of data or prompts. */
export const columns = z
  .record(z.string(), z.string())
  .optional()
  .describe("the file's columns by our names for them: prompt=question,chosen=good");

/** What the stages that sample read. */
export const sampledInputs = {
  policy: sftModel,
  reward: rewardSpec.describe(
    "reward: folder or run of a reward model, a .ts or .js file, or a URL; in a recipe also a weighted sum of them",
  ),
  prompts: z.string().describe("file of prompts"),
  columns,
  allowNoSft: z.boolean().optional().describe("allow a policy without supervised fine-tuning"),
};

/** Plots of pairs' implied rewards: DPO's and online DPO's. */
export const impliedReward: Plot = [
  "Implied reward",
  "β nats",
  { chosen: "rewards/chosen", rejected: "rewards/rejected", margin: "rewards/margins" },
];
