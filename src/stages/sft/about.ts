import { z } from "zod";
import { defineStage } from "../about.ts";
import { columns } from "../inputs.ts";
import { sftConfig } from "./config.ts";

export const about = defineStage({
  name: "sft",
  description: "Fine-tune a model on demonstrations",
  learnsFrom: "demonstrations",
  makes: "policy",
  config: sftConfig,
  inputs: {
    model: z.string().describe("model to fine-tune: name, Hub id, folder, GGUF file or run"),
    data: z.string().describe("file of demonstrations"),
    columns,
  },
  progress: [
    ["loss", "loss"],
    ["mean_token_accuracy", "accuracy"],
  ],
  plots: [
    ["Loss", "nats per token", { train: "loss", "held out": "eval_loss" }],
    ["Accuracy", "share of tokens", { train: "mean_token_accuracy", "held out": "eval_accuracy" }],
    ["Gradient norm", "", { norm: "grad_norm" }],
  ],
  next: (run) => `plumbline chat --model ${run}`,
  train: async (options) => (await import("./train.ts")).sft(options),
});
