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

/** Plots of the monitor; none of a run without one. */
export const monitorPlots: readonly Plot[] = [
  [
    "Gold",
    "score",
    { gold: "monitor/gold" },
    "on the monitor's fixed prompts, by what the policy does not learn from",
  ],
  ["Reward on the same answers", "score", { reward: "monitor/proxy" }],
  [
    "Prompts where the reward rose and gold fell",
    "share",
    { share: "monitor/proxy_up_gold_down" },
    "since the first check",
  ],
];
