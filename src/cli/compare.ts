import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { InputError } from "../data/errors.ts";
import { writeAtomic, writeJsonl } from "../data/jsonl.ts";
import { comparisonReport, comparisonTable, standings, type Trial } from "../quickstart/compare.ts";
import { openMeasurement } from "../quickstart/measure.ts";
import { loadInstructions } from "../quickstart/task.ts";
import { readRecipe } from "../run/config.ts";
import type { Event, Metrics } from "../run/events.ts";
import { renderReport } from "../run/report/render.ts";
import type { StageEntry } from "../stages/about.ts";
import { stages } from "../stages/registry.ts";
import { numeric } from "./options.ts";
import { formatTable, interruptSignal, Progress, print } from "./terminal.ts";

/** Path relative to this file: the same from src/cli and from dist/cli. */
const resolvePath = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const recipes = resolvePath("../../recipes/compare");

interface Options {
  from: string;
  out: string;
  responses?: number;
  minutes?: number;
  seeds: number;
  limit?: number;
  json?: boolean;
}

/** Recipe of a stage, in a folder named after the optimiser. */
interface Recipe {
  optimiser: string;
  stage: StageEntry;
  path: string;
}

export const define = (command: Command): Command =>
  command
    .argument(
      "[folders...]",
      "folders with a recipe each, such as ppo.yaml (default: all recipes that come with plumbline)",
    )
    .option(
      "--from <folder>",
      "output folder of a quickstart, with its SFT model, reward model and comparisons",
      "runs/quickstart",
    )
    .option(
      "--out <folder>",
      "output folder of runs, table and page; finished runs in it are not repeated",
      "runs/compare",
    )
    .option("--responses <n>", "budget in sampled responses (default: 1024)", numeric(1, true))
    .option("--minutes <n>", "budget in minutes of training, instead of --responses", numeric(0.1))
    .option("--seeds <n>", "number of seeds per recipe", numeric(1, true), 3)
    .option("--limit <n>", "number of held-out instructions to evaluate on", numeric(1, true))
    .option("--json", "print the result as JSON")
    .action(async (folders: string[], options: Options) => {
      if (options.responses !== undefined && options.minutes !== undefined)
        throw new InputError("compare: give --responses or --minutes");
      for (const name of ["sft", "reward"])
        if (!existsSync(join(options.from, name, "run.json")))
          throw new InputError(
            `${options.from}: there is no run "${name}" in it: run \`plumbline quickstart\` first`,
          );
      const optimisers = (
        folders.length ? folders : readdirSync(recipes).map((name) => join(recipes, name))
      ).map(recipeIn);
      const signal = interruptSignal();
      const progress = new Progress(false);
      mkdirSync(options.out, { recursive: true });
      const prompts = join(options.out, "prompts.jsonl");
      writeJsonl(
        prompts,
        loadInstructions("train").map(({ id, prompt }) => ({ id, prompt })),
      );
      const measure = await openMeasurement(options.from, { limit: options.limit, signal });
      const trials: Trial[] = [];
      for (let seed = 0; seed < options.seeds; seed++)
        for (const recipe of optimisers) {
          const run = join(options.out, `${recipe.optimiser}-${seed}`);
          const trialPath = join(run, "trial.json");
          if (!existsSync(trialPath)) {
            progress.line(`${recipe.optimiser}, seed ${seed}`);
            // A run that was interrupted starts over, since its time cannot be measured in parts.
            rmSync(run, { recursive: true, force: true });
            const cost = await train(recipe, run, prompts, seed, options, signal, progress);
            const trial = { optimiser: recipe.optimiser, seed, ...cost, ...(await measure(run)) };
            writeAtomic(trialPath, (write) => write(JSON.stringify(trial)));
          }
          trials.push(JSON.parse(readFileSync(trialPath, "utf8")) as Trial);
        }
      const budget = options.minutes
        ? `Each learns for about ${options.minutes} minutes.`
        : `Those that sample draw ${options.responses ?? defaultResponses} responses; the others take one pass over the comparisons.`;
      const page = join(options.out, "compare.html");
      writeAtomic(page, (write) => write(renderReport(comparisonReport(trials, budget))));
      if (options.json) return print(JSON.stringify(standings(trials)));
      print(
        `${formatTable(comparisonTable(standings(trials)))}\n\n${budget} ${options.seeds} seeds.\npage: ${page}`,
      );
    });

/** Default budget of responses. */
const defaultResponses = 1024;

/** The stages that improve a policy which had SFT. */
const optimisers = stages.filter(
  ({ makes, learnsFrom }) => makes === "policy" && learnsFrom !== "demonstrations",
);

/** Finds the recipe in an optimiser's folder. @throws InputError if there is none */
function recipeIn(folder: string): Recipe {
  for (const stage of optimisers) {
    const path = join(folder, `${stage.name}.yaml`);
    if (existsSync(path)) return { optimiser: basename(folder), stage, path };
  }
  throw new InputError(
    `${folder}: there is no ${optimisers.map(({ name }) => `${name}.yaml`).join(", ")} in it`,
  );
}

/** Trains by a recipe in a separate process. @returns its time, memory and number of responses */
async function train(
  { stage, path }: Recipe,
  run: string,
  prompts: string,
  seed: number,
  { from, responses = defaultResponses, minutes }: Options,
  signal: AbortSignal,
  progress: Progress,
): Promise<Pick<Trial, "seconds" | "gb" | "responses">> {
  const recipe = readRecipe(path);
  const isSampled = stage.learnsFrom === "reward";
  const inputs = isSampled
    ? ["--policy", join(from, "sft"), "--reward", join(from, "reward"), "--prompts", prompts]
    : ["--model", join(from, "sft"), "--data", join(from, "comparisons.jsonl")];
  let length = lengthSetting(stage, recipe, responses);
  if (minutes !== undefined) {
    const { output } = await plumbline([stage.name, path, ...inputs, "--estimate", "--json"], signal);
    const { steps, secondsPerStep } = JSON.parse(output.at(-1) as string);
    length = lengthSetting(stage, recipe, responses, (60 * minutes) / (steps * secondsPerStep));
  }
  let [start, end] = [0, 0];
  let last: Metrics = {};
  const { gb } = await plumbline(
    [stage.name, path, ...inputs, "--run", run, "--json", "--set", `seed=${seed}`, "--set", length],
    signal,
    (line) => {
      const event = JSON.parse(line) as Event;
      if (event.type === "start") start = performance.now();
      if (event.type === "done") end = performance.now();
      if (event.type === "step") {
        last = event.metrics;
        progress.count(event.step, event.total, "steps");
      }
    },
  );
  return { seconds: (end - start) / 1000, gb, responses: last.episode ?? 0 };
}

/**
 * Makes the setting of a run's length: as many responses as the budget has, or, of a stage that samples none, one pass.
 * @param factor in place of the budget: how many times as long as the recipe says
 */
function lengthSetting(
  { name, learnsFrom }: StageEntry,
  recipe: Record<string, unknown>,
  responses: number,
  factor?: number,
): string {
  const number = (key: string, otherwise: number) => Number(recipe[key] ?? otherwise);
  const whole = (count: number) => Math.max(1, Math.round(count));
  if (learnsFrom !== "reward") return `epochs=${(factor ?? 1) * number("epochs", 1)}`;
  if (name === "rejection") {
    const byBudget = responses / number("rounds", 1) / number("samplesPerPrompt", 8);
    return `promptsPerRound=${whole(factor === undefined ? byBudget : factor * number("promptsPerRound", byBudget))}`;
  }
  const byBudget = responses / number("batchSize", 64);
  return `steps=${whole(factor === undefined ? byBudget : factor * number("steps", 100))}`;
}

/** Runs a plumbline command. @returns its lines of output, and its peak resident memory where the system reports it */
function plumbline(
  args: readonly string[],
  signal: AbortSignal,
  onLine: (line: string) => void = () => {},
): Promise<{ output: string[]; gb: number | undefined }> {
  const child = spawn(process.execPath, [resolvePath("../../bin/plumbline.mjs"), ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    signal,
  });
  return new Promise((resolve, reject) => {
    let gb: number | undefined;
    const memoryPoll = setInterval(() => {
      try {
        const [, kb] = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8")) ?? [];
        if (kb) gb = Number(kb) / 1e6;
      } catch {
        // The process has ended, or this system has no /proc.
      }
    }, 200);
    const output: string[] = [];
    let problem = "";
    createInterface({ input: child.stdout }).on("line", (line) => {
      output.push(line);
      onLine(line);
    });
    child.stderr.on("data", (text) => {
      problem = (problem + text).slice(-2000);
    });
    child.once("error", reject);
    child.once("close", (code) => {
      clearInterval(memoryPoll);
      if (code === 0) resolve({ output, gb });
      else reject(new InputError(`plumbline ${args.slice(0, 2).join(" ")}: ${problem.trim()}`));
    });
  });
}
