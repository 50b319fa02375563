import { readFileSync } from "node:fs";
import { Command, CommanderError, Help } from "commander";
import { PlumblineError } from "../data/errors.ts";
import { Interrupted } from "../run/training.ts";
import { stages } from "../stages/registry.ts";

/** Adds a command's options, arguments and action to a `Command` that has its name and description. */
type Define = (command: Command) => Command;

interface CommandEntry {
  name: string;
  /** Options and arguments, as the list of commands shows them. */
  usage: string;
  description: string;
  /** Imports the command's module. Only the module of the command that is called is loaded, so that `--help` starts at once. */
  load: () => Promise<{ define: Define }>;
}

/** All commands, in the order of `plumbline --help`. */
export const commands: readonly CommandEntry[] = [
  {
    name: "quickstart",
    usage: "[options]",
    description:
      "Align SmolLM2-135M on a small task whose truth a program checks: SFT, reward model, PPO, a report",
    load: () => import("./quickstart.ts"),
  },
  ...stages.map((stage) => ({
    name: stage.name,
    usage: "[options] [recipe]",
    description: stage.description,
    load: async () => {
      const { defineStageCommand } = await import("./stage.ts");
      return { define: (command: Command) => defineStageCommand(command, stage) };
    },
  })),
  {
    name: "loop",
    usage: "[options] <recipe>",
    description:
      "Iterative RLHF: rounds of sampling, labels, a reward model, PPO or GRPO, and evaluation, until it is no better",
    load: () => import("./loop.ts"),
  },
  {
    name: "generate",
    usage: "[options]",
    description: "Generate answers to prompts, as JSON lines",
    load: () => import("./generate.ts"),
  },
  {
    name: "chat",
    usage: "[options]",
    description: "Chat with a model; /reset clears the conversation, /exit or Ctrl-D quits",
    load: () => import("./chat.ts"),
  },
  {
    name: "score",
    usage: "[options]",
    description: "Score completions with a reward model, as JSON lines",
    load: () => import("./score.ts"),
  },
  {
    name: "eval",
    usage: "[options] [policies...]",
    description:
      "Compare models by a reward, a judge or people, with intervals; measure a reward's accuracy, or a model on IFEval",
    load: () => import("./eval.ts"),
  },
  {
    name: "model",
    usage: "",
    description: "Download and list models",
    load: () => import("./model.ts"),
  },
  {
    name: "data",
    usage: "",
    description: "Check data files",
    load: () => import("./data.ts"),
  },
  {
    name: "runs",
    usage: "[options] [folder]",
    description: "List the runs in a folder",
    load: () => import("./runs.ts"),
  },
  {
    name: "sample",
    usage: "[options]",
    description: "Sample different completions of prompts, for people to compare",
    load: () => import("./sample.ts"),
  },
  {
    name: "constitution",
    usage: "",
    description:
      "AI feedback from written principles: critiques and revisions for SFT, preferences for a reward model",
    load: () => import("./constitution.ts"),
  },
  {
    name: "labels",
    usage: "",
    description: "Import, export, verify and measure the labels of a store",
    load: () => import("./labels.ts"),
  },
  {
    name: "serve",
    usage: "[options]",
    description: "Serve the label app, in which people compare answers in their browser",
    load: () => import("./serve.ts"),
  },
  {
    name: "report",
    usage: "[options] <run>",
    description: "Write the curves, metrics and samples of a run as one HTML page",
    load: () => import("./report.ts"),
  },
  {
    name: "compare",
    usage: "[options] [folders...]",
    description: "Compare optimisers on the quickstart's task with equal budgets, by gain, KL and time",
    load: () => import("./compare.ts"),
  },
  {
    name: "bench",
    usage: "[options]",
    description: "Measure this machine's speed; for the time that a recipe takes, use --estimate of a stage",
    load: () => import("./bench.ts"),
  },
  {
    name: "init",
    usage: "[folder]",
    description: "Create a folder with commented recipes and sample data to start from",
    load: () => import("./init.ts"),
  },
  {
    name: "setup",
    usage: "[options]",
    description: "Download libtorch and build the engine, once per machine",
    load: () => import("./setup.ts"),
  },
];

/** Name of the command that a command line calls; `help x` shows the help of `x`. */
function calledCommand(argv: readonly string[]): string | undefined {
  const [first, second] = argv.slice(2).filter((argument) => !argument.startsWith("-"));
  return first === "help" ? second : first;
}

/** The command line for these arguments. Commands that they do not call have a name and a description only. */
export async function program(argv: readonly string[]): Promise<Command> {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const root = new Command("plumbline")
    .description("Align a language model with human preferences: labels, SFT, reward model, PPO, GRPO, DPO")
    .version(version)
    .showHelpAfterError("(--help lists the options)")
    .configureHelp({
      subcommandTerm(command) {
        const entry = commands.find(({ name }) => name === command.name());
        return entry ? `${entry.name} ${entry.usage}`.trim() : new Help().subcommandTerm(command);
      },
    });
  const called = calledCommand(argv);
  for (const { name, description, load } of commands) {
    const command = new Command(name).description(description);
    root.addCommand(command);
    if (name === called) (await load()).define(command);
  }
  for (const command of [root, ...root.commands.flatMap((command) => [command, ...command.commands])])
    command.exitOverride();
  return root;
}

/** Runs the command line. Exit codes: 0, 1 for a mistake of the user's or ours, 130 when interrupted. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that closes the pipe early, such as `head`, is not an error.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  try {
    await (await program(argv)).parseAsync(argv);
  } catch (error) {
    if (error instanceof CommanderError) process.exitCode = error.exitCode;
    else if (error instanceof Interrupted || (error as Error).name === "AbortError") {
      console.error(error instanceof Interrupted ? error.message : "interrupted");
      process.exitCode = 130;
    } else {
      const isExpected = error instanceof PlumblineError || (error as Error).name === "TensorError";
      console.error(isExpected ? `error: ${(error as Error).message}` : (error as Error).stack);
      process.exitCode = 1;
    }
  }
}
