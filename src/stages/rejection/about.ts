import { defineStage } from "../about.ts";
import { monitorPlots, sampledInputs } from "../inputs.ts";
import { rejectionConfig } from "./config.ts";

export const about = defineStage({
  name: "rejection",
  description: "Train a policy by rejection sampling: sample several responses, learn from the best by SFT",
  learnsFrom: "reward",
  makes: "policy",
  config: rejectionConfig,
  inputs: sampledInputs,
  progress: [
    ["round", "round"],
    ["objective/scores", "score"],
    ["kept/scores", "kept"],
    ["loss", "loss"],
  ],
  plots: [
    ["Score", "reward", { "all responses": "objective/scores", kept: "kept/scores" }],
    ["Kept", "share", { responses: "kept/share", prompts: "kept/prompts" }],
    ["Loss", "nats per token", { train: "loss" }],
    ["KL to the start", "nats per response", { KL: "objective/kl" }],
    ["Length", "tokens", { mean: "completions/mean_length" }],
    ["Gradient norm", "", { norm: "grad_norm" }],
    ...monitorPlots,
  ],
  next: (run) => `plumbline chat --model ${run}`,
  train: async (options) => (await import("./train.ts")).rejection(options),
});
