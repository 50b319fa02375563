import { z } from "zod";
import { rewardConfig } from "../reward/config.ts";
import { stageCommand } from "./stage.ts";

export const reward = () =>
  stageCommand({
    name: "reward",
    description: "Train a reward model on rankings",
    settings: rewardConfig,
    inputs: { model: z.string(), data: z.string() },
    hints: { model: "the SFT model: name, Hub id, folder or run", data: "JSONL file of comparisons" },
    start: async (config) => (await import("../reward/train.ts")).reward(config),
  });
