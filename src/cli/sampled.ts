import { z } from "zod";
import { rewardSpec } from "../rewards/config.ts";

/** What the stages that sample read on the command line. */
export const sampledInputs = {
  policy: z.string(),
  reward: rewardSpec,
  prompts: z.string(),
  allowNoSft: z.boolean().optional(),
};
export const sampledHints = {
  policy: "the SFT model: name, Hub id, folder or run",
  reward:
    "what scores: a reward model's folder or run, a .ts or .js file, an address; in a recipe also parts with weights",
  prompts: "file of prompts",
  allowNoSft: "begin from a model that never had SFT",
};
