import { z } from "zod";
import { onlineConfig } from "../dpo/config.ts";
import { rewardSpec } from "../rewards/config.ts";
import { rewardHint } from "./ppo.ts";
import { stageCommand } from "./stage.ts";

export const onlineDpo = () =>
  stageCommand({
    name: "online-dpo",
    description: "Train a policy by DPO on pairs of its own responses, ordered by a reward",
    settings: onlineConfig,
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
    start: async (config) => (await import("../dpo/online.ts")).onlineDpo(config),
  });
