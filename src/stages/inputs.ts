import { z } from "zod";
import { rewardSpec } from "../rewards/config.ts";
import type { Plot } from "../run/report/run.ts";

// Inputs that several stages have, as options of the command line and keys of a recipe.

export const sftModel = z.string().describe("the SFT model: name, Hub id, folder or run");

/** What the stages that sample read. */
export const sampledInputs = {
  policy: sftModel,
  reward: rewardSpec.describe(
    "what scores: a reward model's folder or run, a .ts or .js file, an address; in a recipe also parts with weights",
  ),
  prompts: z.string().describe("file of prompts"),
  allowNoSft: z.boolean().optional().describe("begin from a model that never had SFT"),
};

/** Plots of pairs' implied rewards: DPO's and online DPO's. */
export const impliedReward: Plot = [
  "Implied reward",
  "β nats",
  { chosen: "rewards/chosen", rejected: "rewards/rejected", margin: "rewards/margins" },
];
