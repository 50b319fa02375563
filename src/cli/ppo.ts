import { z } from "zod";
import { ppoConfig } from "../ppo/config.ts";
import { rewardSpec } from "../rewards/config.ts";
import { stageCommand } from "./stage.ts";

/** What `--reward` takes. */
export const rewardHint =
  "what scores: a reward model's folder or run, a .ts or .js file, an address; in a recipe also parts with weights";

export const ppo = () =>
  stageCommand({
    name: "ppo",
    description: "Train a policy by PPO against a reward model, held near where it began",
    settings: ppoConfig,
    inputs: {
      policy: z.string(),
      reward: rewardSpec,
      prompts: z.string(),
      ptxData: z.string().optional(),
      allowNoSft: z.boolean().optional(),
    },
    hints: {
      policy: "the SFT model: name, Hub id, folder or run",
      reward: rewardHint,
      prompts: "file of prompts",
      ptxData: "file of demonstrations that PPO-ptx mixes in",
      allowNoSft: "begin from a model that never had SFT",
    },
    start: async (config) => (await import("../ppo/train.ts")).ppo(config),
  });
