import { type Command, Option } from "commander";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { applySet, parseConfig, readRecipe, refuseUnknownKeys } from "../run/config.ts";
import type { Event } from "../run/events.ts";
import { isRun, readRunFile } from "../run/read.ts";
import type { StageEntry } from "../stages/about.ts";
import type { StageOptions } from "../stages/stage.ts";
import { withData, withLabelInputs } from "./label-data.ts";
import { columnsOption, dtypes } from "./options.ts";
import { formatDuration, formatNumber, formatTable, interruptSignal, Progress, print } from "./terminal.ts";

/** `learningRate` → `learning-rate`. */
const kebab = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Keys of a recipe that every stage has, in addition to its inputs and settings. */
const runOptions = { run: z.string(), dtype: z.enum(dtypes).optional() };

/**
 * Defines the command of a training stage. Settings come from a YAML recipe; options take precedence over it, and
 * `--set name=value` over both.
 */
export function defineStageCommand(command: Command, stage: StageEntry): Command {
  const { name, config } = stage;
  const inputs: z.ZodRawShape = stage.takesLabels ? withLabelInputs(stage.inputs) : stage.inputs;
  const schema = stage.schema.extend({ ...inputs, ...runOptions });
  command
    .argument("[recipe]", "YAML file of settings")
    .option(
      "--set <name=value>",
      "a setting, which overrides the recipe's; can be repeated",
      (value: string, all: string[]) => [...all, value],
      [],
    )
    .option("--run <folder>", `run directory (default: runs/${name})`)
    .option("--resume [folder]", "continue a run from its last checkpoint, with its settings")
    .addOption(
      new Option(
        "--dtype <type>",
        "precision of the computation (default: bfloat16 where the processor is fast at it, else float32)",
      ).choices(dtypes),
    )
    .option(
      "--estimate",
      "take three steps, print the estimated time and memory of the whole run, save nothing",
    )
    .option("--json", "print events as JSON lines")
    .addHelpText("after", () => `\nSettings, for the recipe or --set:\n${describeSettings(config)}`);
  for (const [key, input] of Object.entries(inputs))
    command.addOption(
      key === "columns"
        ? columnsOption()
        : new Option(`--${kebab(key)}${isFlag(input) ? "" : " <path>"}`, describe(input)),
    );
  return command.action(async (recipe: string | undefined, options: Record<string, unknown>) => {
    const fromOptions = ["run", "dtype", ...Object.keys(inputs)]
      .filter((key) => options[key] !== undefined)
      .map((key) => [key, options[key]]);
    const given = applySet(
      { ...(recipe === undefined ? {} : readRecipe(recipe)), ...Object.fromEntries(fromOptions) },
      options.set as string[],
    );
    const merged = options.resume === undefined ? given : resumed(name, options.resume, given);
    refuseUnknownKeys(schema, merged, recipe ?? "settings");
    for (const [key, input] of Object.entries(inputs))
      if (merged[key] === undefined && !isOptional(input))
        throw new InputError(`${name}: --${kebab(key)} is missing: ${describe(input)}`);
    const { run, dtype, ...settings } = z
      .looseObject(runOptions)
      .parse(parseConfig(schema, { run: `runs/${name}`, ...merged }, recipe ?? "settings"));
    const json = options.json === true;
    if (options.estimate)
      return withData(stage, settings, undefined, false, async (inputs) =>
        estimate(await stage.start(inputs, { dtype }), json),
      );
    const resume = options.resume !== undefined;
    const { run: _, ...command } = merged;
    return withData(stage, settings, run, resume, async (inputs) =>
      train(stage, inputs, { run, dtype, resume, command, signal: interruptSignal() }, json),
    );
  });
}

/**
 * Adds the settings that a run began with to those that are given.
 * @param resume run directory; true for the one that `given` names
 * @throws InputError when there is no such run, or two are named
 */
function resumed(stage: string, resume: unknown, given: Record<string, unknown>): Record<string, unknown> {
  const run = typeof resume === "string" ? resume : String(given.run ?? `runs/${stage}`);
  if (given.run !== undefined && given.run !== run)
    throw new InputError(`--resume ${run} and --run ${given.run} are different runs: give one of them`);
  if (!isRun(run))
    throw new InputError(`${run}: there is no run to resume here; leave out --resume to start one`);
  const { command = {}, ...file } = readRunFile(run);
  if (file.stage !== stage)
    throw new InputError(`${run}: this is a run of ${file.stage}: plumbline ${file.stage} --resume ${run}`);
  return { ...command, ...given, run };
}

/** Runs a training to its end and prints its last metrics. */
async function train(
  stage: StageEntry,
  inputs: unknown,
  options: StageOptions & { run: string },
  json: boolean,
): Promise<void> {
  const training = await stage.start(inputs, options);
  await follow(training, new Progress(json));
  const { model, metrics } = await training.done();
  model.dispose();
  if (json) return;
  print(
    formatTable([
      ["metric", "last"],
      ...Object.entries(metrics).map(([name, value]) => [name, formatNumber(value)]),
    ]),
  );
  const { run } = options;
  print(`\nsaved in ${run}; try: ${stage.next(run)}, or: plumbline report ${run}`);
}

async function follow(training: AsyncIterable<Event>, progress: Progress): Promise<void> {
  for await (const event of training) progress.show(event);
}

/** Runs three steps and prints the expected time and memory. The first step also warms up, so it is not timed. */
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
  const [first = 0, last = 0] = [ends[0], ends.at(-1)]; // when the first and the last step ended
  const perStep = ends.length > 1 ? (last - first) / (ends.length - 1) / 1000 : undefined;
  const gb = (process.resourceUsage().maxRSS * 1024) / 1e9;
  if (json) return print(JSON.stringify({ steps: total, secondsPerStep: perStep ?? null, gb }));
  if (perStep === undefined)
    return print(`${total} step: too few to tell how long one takes; ${formatNumber(gb)} GB`);
  print(
    `${total} steps of ${formatNumber(perStep)} s: about ${formatDuration(total * perStep)}, evaluations not counted; ${formatNumber(gb)} GB at most so far`,
  );
}

const isOptional = (input: z.core.$ZodType): boolean => input instanceof z.ZodOptional;

/** Whether an input is a flag: an option without a value. */
const isFlag = (input: z.core.$ZodType): boolean =>
  input instanceof z.ZodOptional && input.unwrap() instanceof z.ZodBoolean;

const describe = (input: z.core.$ZodType): string => z.globalRegistry.get(input)?.description ?? "";

/** A setting in a JSON schema. */
interface Setting {
  default?: unknown;
  description?: string;
  enum?: string[];
  type?: string;
  properties?: Record<string, Setting>;
}

/** Describes the settings of a schema: type, default and description of each. */
export function describeSettings(schema: z.ZodObject): string {
  const { properties = {} } = z.toJSONSchema(schema, { io: "input" });
  const lines = (settings: Record<string, Setting>, path = ""): string[] =>
    Object.entries(settings).flatMap(
      ([key, { default: value, enum: choices, type = "", description, properties }]) => {
        const kind = properties
          ? value === undefined
            ? "off unless given"
            : ""
          : (choices?.join(" | ") ?? type);
        const byDefault = properties || value === undefined ? "" : `, default ${JSON.stringify(value)}`;
        const line = [
          `  ${(path + key).padEnd(22)} ${kind}${byDefault}`.trimEnd(),
          ...(description ? [`      ${description}`] : []),
        ];
        return properties ? [...line, ...lines(properties, `${path}${key}.`)] : line;
      },
    );
  return lines(properties as Record<string, Setting>).join("\n");
}
