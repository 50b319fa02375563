import { z } from "zod";
import { ppoConfig } from "../stages/ppo/config.ts";
import { sampledHints, sampledInputs } from "./sampled.ts";
import { stageCommand } from "./stage.ts";

export const ppo = () =>
  stageCommand({
    name: "ppo",
    description: "Train a policy by PPO against a reward model, held near where it began",
    settings: ppoConfig,
    inputs: { ...sampledInputs, ptxData: z.string().optional() },
    hints: { ...sampledHints, ptxData: "file of demonstrations that PPO-ptx mixes in" },
    start: async (config) => (await import("../stages/ppo/train.ts")).ppo(config),
  });
