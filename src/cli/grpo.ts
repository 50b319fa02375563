import { grpoConfig } from "../stages/grpo/config.ts";
import { sampledHints, sampledInputs } from "./sampled.ts";
import { stageCommand } from "./stage.ts";

export const grpo = () =>
  stageCommand({
    name: "grpo",
    description:
      "Train a policy by policy gradients without a critic: GRPO and its variants, RLOO, REINFORCE",
    settings: grpoConfig,
    inputs: sampledInputs,
    hints: sampledHints,
    start: async (config) => (await import("../stages/grpo/train.ts")).grpo(config),
  });
