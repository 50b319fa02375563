import { onlineConfig } from "../stages/online-dpo/config.ts";
import { sampledHints, sampledInputs } from "./sampled.ts";
import { stageCommand } from "./stage.ts";

export const onlineDpo = () =>
  stageCommand({
    name: "online-dpo",
    description: "Train a policy by DPO on pairs of its own responses, ordered by a reward",
    settings: onlineConfig,
    inputs: sampledInputs,
    hints: sampledHints,
    start: async (config) => (await import("../stages/online-dpo/train.ts")).onlineDpo(config),
  });
