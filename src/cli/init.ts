import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { InputError } from "../data/errors.ts";
import { print } from "./terminal.ts";

export const define = (command: Command): Command =>
  command.argument("[folder]", "where", "plumbline-project").action((folder: string) => {
    if (existsSync(folder) && readdirSync(folder).length)
      throw new InputError(`${folder}: the folder is not empty; give a new one`);
    const from = fileURLToPath(new URL("../../recipes/starter", import.meta.url));
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(from)) copyFileSync(join(from, name), join(folder, name));
    print(
      `wrote ${readdirSync(folder).join(", ")} to ${folder}\n\nnext:\n  cd ${folder}\n  npx plumbline-rlhf sft sft.yaml\n  npx plumbline-rlhf reward reward.yaml\n  npx plumbline-rlhf ppo ppo.yaml\n  npx plumbline-rlhf dpo dpo.yaml   # in place of reward and ppo\n  npx plumbline-rlhf grpo grpo.yaml # in place of ppo\n  npx plumbline-rlhf rejection rejection.yaml # in place of ppo\n  npx plumbline-rlhf loop loop.yaml # rounds of labels, reward and ppo`,
    );
  });
