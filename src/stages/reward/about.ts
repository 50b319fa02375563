import { z } from "zod";
import { defineStage } from "../about.ts";
import { columns, sftModel } from "../inputs.ts";
import { rewardConfig } from "./config.ts";

export const about = defineStage({
  name: "reward",
  description: "Train a reward model on rankings",
  learnsFrom: "comparisons",
  makes: "reward model",
  config: rewardConfig,
  inputs: { model: sftModel, data: z.string().describe("file of comparisons"), columns },
  takesLabels: true,
  progress: [
    ["loss", "loss"],
    ["accuracy", "accuracy"],
    ["margin", "margin"],
  ],
  plots: [
    ["Loss", "nats per pair", { loss: "loss" }],
    ["Accuracy", "share of pairs", { train: "accuracy", "held out": "eval_accuracy" }],
    ["Margin", "score", { margin: "margin" }],
  ],
  next: (run) => `plumbline score --model ${run} --data FILE`,
  train: async (options) => (await import("./train.ts")).reward(options),
});
