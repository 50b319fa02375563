import { z } from "zod";
import { defineStage } from "../about.ts";
import { columns, impliedReward, monitorPlots, sftModel } from "../inputs.ts";
import { dpoConfig } from "./config.ts";

export const about = defineStage({
  name: "dpo",
  description: "Train a policy on comparisons without a reward model: DPO, its variants, or KTO on thumbs",
  learnsFrom: "comparisons",
  makes: "policy",
  config: dpoConfig,
  inputs: {
    model: sftModel,
    data: z.string().describe("file of comparisons; with loss=kto also of thumbs up and down"),
    columns,
  },
  takesLabels: true,
  progress: [
    ["loss", "loss"],
    ["rewards/accuracies", "accuracy"],
    ["rewards/margins", "margin"],
  ],
  plots: [
    ["Loss", "", { train: "loss", "held out": "eval_loss" }],
    ["Accuracy", "share of pairs", { train: "rewards/accuracies", "held out": "eval_rewards/accuracies" }],
    impliedReward,
    [
      "Likelihood",
      "nats per completion",
      { chosen: "logps/chosen", rejected: "logps/rejected" },
      "both sides often fall: DPO asks for a difference",
    ],
    ["Gradient norm", "", { norm: "grad_norm" }],
    ...monitorPlots,
  ],
  next: (run) => `plumbline chat --model ${run}`,
  train: async (options) => (await import("./train.ts")).dpo(options),
});
