import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { PlumblineError } from "../data/errors.ts";
import { Interrupted } from "../run/training.ts";
import { bench } from "./bench.ts";
import { chat } from "./chat.ts";
import { compare } from "./compare.ts";
import { constitution } from "./constitution.ts";
import { data } from "./data.ts";
import { generate } from "./generate.ts";
import { init } from "./init.ts";
import { labels } from "./labels.ts";
import { model } from "./model.ts";
import { quickstart } from "./quickstart.ts";
import { report } from "./report.ts";
import { runs } from "./runs.ts";
import { sample } from "./sample.ts";
import { score } from "./score.ts";
import { serve } from "./serve.ts";
import { setup } from "./setup.ts";
import { stageCommands } from "./stage.ts";

// Commands load the engine inside their actions, so that --help starts at once.
export function program(): Command {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const root = new Command("plumbline")
    .description("Align a language model with human preferences: labels, SFT, reward model, PPO, GRPO, DPO")
    .version(version)
    .showHelpAfterError("(--help lists the options)");
  root.addCommand(quickstart());
  for (const command of stageCommands()) root.addCommand(command);
  for (const make of [
    generate,
    chat,
    score,
    model,
    data,
    runs,
    sample,
    constitution,
    labels,
    serve,
    report,
    compare,
    bench,
    init,
    setup,
  ])
    root.addCommand(make());
  for (const command of [root, ...root.commands, ...root.commands.flatMap((one) => one.commands)])
    command.exitOverride();
  return root;
}

/** Runs the command line. Exit codes: 0, 1 for a mistake of the user's or ours, 130 when interrupted. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that stops early, such as `head`, is no error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  try {
    await program().parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode;
    else if (error instanceof Interrupted || (error as Error).name === "AbortError") {
      console.error(error instanceof Interrupted ? error.message : "interrupted");
      process.exitCode = 130;
    } else {
      const known = error instanceof PlumblineError || (error as Error).name === "TensorError";
      console.error(known ? `error: ${(error as Error).message}` : (error as Error).stack);
      process.exitCode = 1;
    }
  }
}
