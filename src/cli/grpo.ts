import { z } from "zod";
import { grpoConfig } from "../grpo/config.ts";
import { rewardSpec } from "../rewards/config.ts";
import { rewardHint } from "./ppo.ts";
import { stageCommand } from "./stage.ts";

export const grpo = () =>
  stageCommand({
    name: "grpo",
    description:
      "Train a policy by policy gradients without a critic: GRPO and its variants, RLOO, REINFORCE",
    settings: grpoConfig,
    inputs: {
      policy: z.string(),
      reward: rewardSpec,
      prompts: z.string(),
      allowNoSft: z.boolean().optional(),
    },
    hints: {
      policy: "the SFT model: name, Hub id, folder or run",
      reward: rewardHint,
      prompts: "file of prompts",
      allowNoSft: "begin from a model that never had SFT",
    },
    start: async (config) => (await import("../grpo/train.ts")).grpo(config),
  });
