import { z } from "zod";
import { defineStage } from "../about.ts";
import { monitorPlots, sampledInputs } from "../inputs.ts";
import { ppoConfig } from "./config.ts";

export const about = defineStage({
  name: "ppo",
  description: "Train a policy with PPO against a reward model, under a KL penalty",
  learnsFrom: "reward",
  makes: "policy",
  config: ppoConfig,
  inputs: {
    ...sampledInputs,
    ptxData: z
      .string()
      .optional()
      .describe("file of demonstrations for the language-modelling loss of PPO-ptx"),
  },
  progress: [
    ["objective/scores", "score"],
    ["objective/kl", "KL"],
    ["completions/mean_length", "length"],
    ["objective/kl_coef", "β"],
  ],
  plots: [
    [
      "Score",
      "reward model",
      { score: "objective/scores", "score less KL penalty, normalised": "objective/rlhf_reward" },
    ],
    ["KL to the reference", "nats per response", { KL: "objective/kl", "k3 estimate": "objective/kl_k3" }],
    ["β", "KL coefficient", { β: "objective/kl_coef" }],
    ["Length", "tokens", { mean: "completions/mean_length" }],
    ["Entropy", "nats per token", { entropy: "policy/entropy_avg" }],
    ["Losses", "", { policy: "loss/policy_avg", value: "loss/value_avg" }],
    [
      "Critic",
      "explained variance",
      { "explained variance": "val/explained_variance" },
      "1 is a perfect critic",
    ],
    ["Clipping", "share of tokens", { policy: "policy/clipfrac_avg", value: "val/clipfrac_avg" }],
    ...monitorPlots,
  ],
  next: (run) => `plumbline chat --model ${run}`,
  train: async (options) => (await import("./train.ts")).ppo(options),
});
