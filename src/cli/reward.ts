import { z } from "zod";
import { rewardConfig } from "../stages/reward/config.ts";
import { type LabelInputs, labelHints, labelInputs, withLabels } from "./label-data.ts";
import { stageCommand } from "./stage.ts";

export const reward = () =>
  stageCommand({
    name: "reward",
    description: "Train a reward model on rankings",
    settings: rewardConfig,
    inputs: { model: z.string(), ...labelInputs },
    hints: {
      model: "the SFT model: name, Hub id, folder or run",
      data: "file of comparisons",
      ...labelHints,
    },
    start: async (config: LabelInputs) => {
      const given = await withLabels("reward", config);
      return (await import("../stages/reward/train.ts")).reward(given as never);
    },
  });
