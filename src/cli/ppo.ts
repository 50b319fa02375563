import { z } from "zod";
import { ppoConfig } from "../ppo/config.ts";
import { stageCommand } from "./stage.ts";

export const ppo = () =>
  stageCommand({
    name: "ppo",
    description: "Train a policy by PPO against a reward model, held near where it began",
    settings: ppoConfig,
    inputs: {
      policy: z.string(),
      reward: z.string(),
      prompts: z.string(),
      ptxData: z.string().optional(),
      allowNoSft: z.boolean().optional(),
    },
    hints: {
      policy: "the SFT model: name, Hub id, folder or run",
      reward: "the reward model: folder or run",
      prompts: "file of prompts",
      ptxData: "file of demonstrations that PPO-ptx mixes in",
      allowNoSft: "begin from a model that never had SFT",
    },
    start: async (config) => (await import("../ppo/train.ts")).ppo(config),
  });
