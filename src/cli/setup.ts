import type { Command } from "commander";
import { SetupError, setup } from "../../scripts/setup.mjs";
import { InputError } from "../data/errors.ts";
import { print } from "./terminal.ts";

export const define = (command: Command): Command =>
  command
    .option("--model", "also download the quickstart's model")
    .action(async ({ model = false }: { model?: boolean }) => {
      try {
        await setup({ model });
      } catch (error) {
        throw error instanceof SetupError ? new InputError(error.message) : error;
      }
      print("the engine is ready");
    });
