import { existsSync, renameSync, rmSync } from "node:fs";
import type { Command } from "commander";
import { InputError } from "../data/errors.ts";
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
  group
    .command("average")
    .description("Average the members of an ensemble of reward models into one model (WARM)")
    .argument("<ensemble>", "folder or run")
    .requiredOption("--out <folder>", "where the model is saved: a new folder")
    .action(async (ensemble: string, { out }: { out: string }) => {
      if (existsSync(out)) throw new InputError(`${out}: exists already: give a new folder`);
      // Imported here because only this subcommand loads the engine.
      const { averageMembers } = await import("../models/ensemble.ts");
      const model = averageMembers(ensemble);
      const temporary = `${out}.tmp-${process.pid}`;
      try {
        model.save(temporary);
        renameSync(temporary, out);
      } finally {
        model.dispose();
        rmSync(temporary, { recursive: true, force: true });
      }
      print(out);
    });
  return group;
}
