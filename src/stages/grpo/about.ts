import { defineStage } from "../about.ts";
import { monitorPlots, sampledInputs } from "../inputs.ts";
import { grpoConfig } from "./config.ts";

export const about = defineStage({
  name: "grpo",
  description:
    "Train a policy with policy gradients without a critic: GRPO and its variants, RLOO, REINFORCE",
  learnsFrom: "reward",
  makes: "policy",
  config: grpoConfig,
  inputs: sampledInputs,
  progress: [
    ["objective/scores", "score"],
    ["objective/kl", "KL"],
    ["completions/mean_length", "length"],
  ],
  plots: [
    ["Score", "reward", { score: "objective/scores" }],
    ["KL to the reference", "nats per response", { KL: "objective/kl" }],
    ["Length", "tokens", { mean: "completions/mean_length" }],
    ["Entropy", "nats per response", { entropy: "objective/entropy" }],
    ["Prompts that teach nothing", "share", { share: "frac_reward_zero_std" }],
    ["Clipping", "share of tokens", { policy: "policy/clipfrac_avg" }],
    ["Gradient norm", "", { norm: "grad_norm" }],
    ...monitorPlots,
  ],
  next: (run) => `plumbline chat --model ${run}`,
  train: async (options) => (await import("./train.ts")).grpo(options),
});
