import type { Command } from "commander";
import { cachedModels, pullModel } from "../models/pull.ts";
import { Progress, print } from "./terminal.ts";

export function define(group: Command): Command {
  group
    .command("pull")
    .description("Download a model into the cache and print its folder")
    .argument("<name>", "smollm2-135m-instruct, a Hugging Face id (owner/name), or a path")
    .option("--revision <name>", "branch, tag or commit on the Hub")
    .action(async (name: string, { revision }: { revision?: string }) => {
      const progress = new Progress(false);
      print(
        await pullModel(name, {
          ...(revision ? { revision } : {}),
          onProgress: (text) => progress.line(text),
        }),
      );
    });
  group
    .command("list")
    .description("List the models in the cache")
    .action(async () => {
      for (const name of cachedModels()) print(name);
    });
  return group;
}
