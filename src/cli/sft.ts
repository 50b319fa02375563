import { z } from "zod";
import { sftConfig } from "../stages/sft/config.ts";
import { stageCommand } from "./stage.ts";

export const sft = () =>
  stageCommand({
    name: "sft",
    description: "Fine-tune a model on demonstrations",
    settings: sftConfig,
    inputs: { model: z.string(), data: z.string() },
    hints: {
      model: "the model to begin from: name, Hub id, folder, GGUF file or run",
      data: "file of demonstrations",
    },
    start: async (config) => (await import("../stages/sft/train.ts")).sft(config),
  });
