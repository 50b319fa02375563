import { z } from "zod";
import { dpoConfig } from "../stages/dpo/config.ts";
import { type LabelInputs, labelHints, labelInputs, withLabels } from "./label-data.ts";
import { stageCommand } from "./stage.ts";

export const dpo = () =>
  stageCommand({
    name: "dpo",
    description: "Train a policy on comparisons without a reward model: DPO, its variants, or KTO on thumbs",
    settings: dpoConfig,
    inputs: { model: z.string(), ...labelInputs },
    hints: {
      model: "the SFT model: name, Hub id, folder or run",
      data: "file of comparisons; for loss=kto also of thumbs up and down",
      ...labelHints,
    },
    start: async (config: LabelInputs) => {
      const given = await withLabels("dpo", config);
      return (await import("../stages/dpo/train.ts")).dpo(given as never);
    },
  });
