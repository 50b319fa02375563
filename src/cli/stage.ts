import { Command, Option } from "commander";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { applySet, parseConfig, readRecipe } from "../run/config.ts";
import type { Event, Metrics } from "../run/events.ts";
import type { Training } from "../run/training.ts";
import { duration, interruptible, number, Progress, print, table } from "./terminal.ts";

interface Stage<T extends z.ZodRawShape> {
  name: string;
  description: string;
  /** Settings of the stage, with their defaults. */
  settings: z.ZodObject;
  /** What the stage reads, each an option and a key of the recipe. */
  inputs: T;
  hints: Record<keyof T & string, string>;
  /** Loads the engine. */
  start: (config: never) => Promise<Training<{ metrics: Metrics; model: { dispose(): void } }>>;
}

const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** A command that trains: a YAML recipe, options over it, `--set name=value` over those. */
export function stageCommand<T extends z.ZodRawShape>({
  name,
  description,
  settings,
  inputs,
  hints,
  start,
}: Stage<T>): Command {
  const command = new Command(name)
    .description(description)
    .argument("[recipe]", "YAML file of settings")
    .option(
      "--set <name=value>",
      "a setting, over the recipe's; may be given again",
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option("--run <folder>", `run directory (default: runs/${name})`)
    .option("--resume", "go on from the run's last checkpoint")
    .addOption(
      new Option(
        "--dtype <type>",
        "what to compute in (default: bfloat16 where the machine is fast at it)",
      ).choices(["float32", "bfloat16"]),
    )
    .option("--estimate", "take three steps, tell how long all will take and the memory, save nothing")
    .option("--json", "print events as JSON lines")
    .addHelpText("after", () => `\nSettings, for the recipe or --set:\n${describe(settings)}`);
  const keys = Object.keys(inputs);
  for (const key of keys) {
    const flag =
      inputs[key] instanceof z.ZodOptional && inputs[key].unwrap() instanceof z.ZodBoolean ? "" : " <path>";
    command.option(`--${kebab(key)}${flag}`, hints[key] as string);
  }
  const schema = settings.extend({
    ...inputs,
    run: z.string().default(`runs/${name}`),
    dtype: z.enum(["float32", "bfloat16"]).optional(),
  });
  return command.action(async (recipe: string | undefined, options: Record<string, unknown>) => {
    const given = ["run", "dtype", ...keys]
      .filter((key) => options[key] !== undefined)
      .map((key) => [key, options[key]]);
    const merged = applySet(
      { ...(recipe === undefined ? {} : readRecipe(recipe)), ...Object.fromEntries(given) },
      options.set as string[],
    );
    for (const key of keys)
      if (merged[key] === undefined && !(inputs[key] instanceof z.ZodOptional))
        throw new InputError(`${name}: --${kebab(key)} is missing: ${hints[key]}`);
    const config = parseConfig(schema, merged, recipe ?? "settings") as { run: string };
    if (options.estimate) {
      const { run: _, ...rest } = config;
      return estimate(await start(rest as never), options.json === true);
    }
    const training = await start({
      ...config,
      resume: options.resume ?? false,
      signal: interruptible(),
    } as never);
    const progress = new Progress(options.json === true);
    await follow(training, progress);
    const { model, metrics } = await training.done();
    model.dispose();
    if (!options.json) summarise(name, config.run, metrics);
  });
}

export async function follow(training: AsyncIterable<Event>, progress: Progress): Promise<void> {
  for await (const event of training) progress.show(event);
}

/** Takes a training's first steps. The first one also compiles and allocates, so it is not counted. */
async function estimate(training: AsyncIterable<Event>, json: boolean): Promise<void> {
  const progress = new Progress(json);
  const ends: number[] = [];
  let total = 0;
  for await (const event of training) {
    if (event.type !== "step") continue;
    progress.line(`step ${event.step} of 3`);
    ends.push(performance.now());
    total = event.total;
    if (ends.length === 3 || ends.length === total) break;
  }
  const [first = 0, last = 0] = [ends[0], ends.at(-1)];
  const perStep = ends.length > 1 ? (last - first) / (ends.length - 1) / 1000 : undefined;
  const gb = (process.resourceUsage().maxRSS * 1024) / 1e9;
  if (json) return console.log(JSON.stringify({ steps: total, secondsPerStep: perStep ?? null, gb }));
  if (perStep === undefined)
    return print(`${total} step: too few to tell how long one takes; ${number(gb)} GB`);
  print(
    `${total} steps of ${number(perStep)} s: about ${duration(total * perStep)}, evaluations not counted; ${number(gb)} GB at most so far`,
  );
}

function summarise(stage: string, run: string, metrics: Metrics): void {
  print(
    table([["metric", "last"], ...Object.entries(metrics).map(([name, value]) => [name, number(value)])]),
  );
  const next: Record<string, string> = {
    sft: `plumbline chat --model ${run}`,
    reward: `plumbline score --model ${run} --data FILE`,
    ppo: `plumbline chat --model ${run}`,
    grpo: `plumbline chat --model ${run}`,
    "online-dpo": `plumbline chat --model ${run}`,
    dpo: `plumbline chat --model ${run}`,
  };
  print(`\nsaved in ${run}; try: ${next[stage]}, or: plumbline report ${run}`);
}

interface Setting {
  default?: unknown;
  enum?: string[];
  type?: string;
  properties?: Record<string, Setting>;
}

function describe(settings: z.ZodObject): string {
  const { properties = {} } = z.toJSONSchema(settings, { io: "input" });
  const lines = (of: Record<string, Setting>, path = ""): string[] =>
    Object.entries(of).flatMap(([key, { default: value, enum: choices, type = "", properties: inner }]) => {
      const line = (what: string) => `  ${(path + key).padEnd(20)} ${what}`;
      if (inner) return [line("off unless given"), ...lines(inner, `${path}${key}.`)];
      return line(
        `${choices?.join(" | ") ?? type}${value === undefined ? "" : `, default ${JSON.stringify(value)}`}`,
      );
    });
  return lines(properties as Record<string, Setting>).join("\n");
}
