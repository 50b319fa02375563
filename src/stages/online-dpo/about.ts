import { defineStage } from "../about.ts";
import { impliedReward, monitorPlots, sampledInputs } from "../inputs.ts";
import { onlineConfig } from "./config.ts";

export const about = defineStage({
  name: "online-dpo",
  description: "Train a policy with DPO on pairs of its own responses, ranked by a reward",
  learnsFrom: "reward",
  makes: "policy",
  config: onlineConfig,
  inputs: sampledInputs,
  progress: [
    ["objective/scores", "score"],
    ["loss", "loss"],
    ["rewards/margins", "margin"],
  ],
  plots: [
    ["Score", "reward", { score: "objective/scores" }],
    ["Loss", "", { loss: "loss" }],
    impliedReward,
    ["Length", "tokens", { mean: "completions/mean_length" }],
    ["Prompts that teach nothing", "share", { share: "frac_reward_zero_std" }],
    ...monitorPlots,
  ],
  next: (run) => `plumbline chat --model ${run}`,
  train: async (options) => (await import("./train.ts")).onlineDpo(options),
});
