import type { Command } from "commander";
import { loopConfig, parseLoop } from "../loop/config.ts";
import type { LoopReport } from "../loop/loop.ts";
import { applySet, readRecipe } from "../run/config.ts";
import { formatInterval, type Interval } from "../statistics/bootstrap.ts";
import { describeSettings } from "./stage.ts";
import { formatTable, interruptSignal, Progress, print } from "./terminal.ts";

interface Options {
  set: string[];
  run?: string;
  json?: boolean;
}

const { reward: _, ppo: __, grpo: ___, ...ownSettings } = loopConfig.shape;

export const define = (command: Command): Command =>
  command
    .argument("<recipe>", "YAML file of settings")
    .option(
      "--set <name=value>",
      "a setting, which overrides the recipe's; can be repeated",
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option("--run <folder>", "directory of the loop, which goes on if it has begun (default: runs/loop)")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      () =>
        `\nSettings, for the recipe or --set:\n${describeSettings(loopConfig.pick(Object.fromEntries(Object.keys(ownSettings).map((key) => [key, true])) as never))}\n  reward, ppo, grpo\n      Settings of these stages: see plumbline reward --help, ppo --help, grpo --help`,
    )
    .action(async (path: string, options: Options) => {
      const { run: named, ...written } = applySet(readRecipe(path), options.set);
      const run = options.run ?? (typeof named === "string" ? named : "runs/loop");
      const recipe = parseLoop(written, path);
      const { runLoop } = await import("../loop/loop.ts");
      const progress = new Progress(false);
      const report = await runLoop(recipe, {
        run,
        signal: interruptSignal(),
        onPhase: (what) => progress.line(what),
        onEvent: (event) => progress.show(event),
      });
      print(options.json ? JSON.stringify(report) : formatReport(report, path, options.run));
    });

function formatReport(
  { rounds, waiting, reason, policy }: LoopReport,
  recipe: string,
  run: string | undefined,
): string {
  const cell = (interval: Interval | undefined, digits?: number) =>
    interval ? formatInterval(interval, digits) : "";
  const table = formatTable([
    ["round", "comparisons", "predicted by the last", "reward model", "wins", "KL, nats", ""],
    ...rounds.map(({ comparisons, prediction, rewardAccuracy, winRate, kl, accepted }, i) => [
      String(i + 1),
      String(comparisons ?? ""),
      cell(prediction),
      cell(rewardAccuracy),
      cell(winRate),
      cell(kl, 2),
      accepted ? "accepted" : winRate ? "rejected" : "",
    ]),
  ]);
  const explained = `predicted by the last: share of the new pairs that the last round's reward model orders as the labelers do; reward model: the same of the round's, on pairs that it held out; wins: share of held-out answers better than the last policy's; KL: to the first policy. Intervals are 95 %, over prompts.`;
  const ending = waiting
    ? `${waiting.what}: ${waiting.missing} of ${waiting.tasks} tasks wait to be judged in project "${waiting.project}".\n  plumbline serve --store ${waiting.store}\nthen go on:\n  plumbline loop ${recipe}${run === undefined ? "" : ` --run ${run}`}`
    : `${reason}. The policy of the loop is ${policy}; try: plumbline chat --model ${policy}`;
  return [table, explained, ending].join("\n\n");
}
