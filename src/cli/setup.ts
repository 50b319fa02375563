import { Command } from "commander";
import { InputError } from "../data/errors.ts";
import { print } from "./terminal.ts";

export const setup = () =>
  new Command("setup")
    .description("Get libtorch and build the engine: once on each machine")
    .option("--model", "get the quickstart's model too")
    .action(async ({ model = false }: { model?: boolean }) => {
      const script = await import("../../scripts/setup.mjs");
      try {
        await script.setup({ model });
      } catch (error) {
        throw error instanceof script.SetupError ? new InputError(error.message) : error;
      }
      print("the engine is ready");
    });
