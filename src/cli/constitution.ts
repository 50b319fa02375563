import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { type Calibration, calibrate } from "../constitution/calibrate.ts";
import { type Constitution, readConstitution } from "../constitution/constitution.ts";
import { openFeedback } from "../constitution/open-feedback.ts";
import { type AnswerPair, type JudgedPair, prefer, toComparison } from "../constitution/prefer.ts";
import { finalResponse, type RevisedResponse, revise } from "../constitution/revise.ts";
import { InputError } from "../data/errors.ts";
import { writeAtomic, writeJsonl } from "../data/jsonl.ts";
import { readComparisons, readDrafts, readPrompts } from "../data/readers.ts";
import { type Columns, readRows } from "../data/tables.ts";
import type { Interval } from "../statistics/bootstrap.ts";
import { columnsOption, dtypeOption, numeric } from "./options.ts";
import { formatTable, interruptSignal, Progress, print } from "./terminal.ts";

/** Options of both phases. */
interface PhaseOptions {
  constitution: string;
  model: string;
  endpoint?: string;
  data: string;
  columns?: Columns;
  out: string;
  maxTokens: number;
  temperature: number;
  seed: number;
  atOnce: number;
  dtype?: "float32" | "bfloat16";
}

export const define = (command: Command): Command =>
  command.addCommand(check()).addCommand(reviseCommand()).addCommand(judgeCommand());

const check = () =>
  new Command("check")
    .description("Check a constitution and print its contents")
    .argument("<file>", "YAML file")
    .option("--json", "print it as JSON")
    .action(async (file: string, { json }: { json?: boolean }) => {
      const read = readConstitution(file);
      if (json) return console.log(JSON.stringify(read));
      const rows = read.principles.map(({ name, weight, critique, preference }) => [
        ...[name, String(weight), critique ? "yes" : "", preference ? "yes" : ""],
      ]);
      print(formatTable([["principle", "weight", "revises", "compares"], ...rows]));
      print(`\n${read.name}, version ${read.version}, ${read.hash}`);
    });

/** Adds the options of both phases. */
const addPhaseOptions = (command: Command) =>
  command
    .requiredOption("--constitution <file>", "YAML file of principles")
    .requiredOption("--out <folder>", "where the log and the data go; what is there is gone on with")
    .option(
      "--endpoint <url>",
      "use a model of an OpenAI-compatible server for feedback (key: OPENAI_API_KEY)",
    )
    .option("--max-tokens <n>", "maximum tokens of an answer, critique or revision", numeric(1, true), 256)
    .option("--temperature <t>", "sampling temperature", numeric(0), 0.7)
    .option("--seed <n>", "random seed of the sampling and the choice of principles", numeric(0, true), 0)
    .option("--at-once <n>", "number of rows processed and logged together", numeric(1, true), 64)
    .addOption(columnsOption())
    .addOption(dtypeOption());

const reviseCommand = () =>
  addPhaseOptions(
    new Command("revise")
      .description("Answer prompts, criticise and revise the answers by principles: demonstrations for sft")
      .requiredOption("--model <name>", "model that answers: name, Hub id, folder or run")
      .option("--feedback <name>", "model that criticises and revises (default: the same model)")
      .requiredOption("--data <file>", "file of prompts")
      .option("--rounds <n>", "number of critiques and revisions per answer", numeric(1, true), 2),
  ).action(async (options: PhaseOptions & { feedback?: string; rounds: number }) => {
    const read = readConstitution(options.constitution);
    const { records } = await readPrompts(options.data, options.columns);
    const progress = new Progress(false);
    const [policy, disposePolicy] = await openFeedback(options.model, undefined, options);
    const isSame = options.endpoint === undefined && (options.feedback ?? options.model) === options.model;
    const [critic, disposeCritic] = isSame
      ? [policy, () => {}]
      : await openFeedback(options.feedback ?? options.model, options.endpoint, options);
    const signal = interruptSignal();
    const log = openLog<RevisedResponse>(options, "revisions", records.length, read, critic.name, {
      model: options.model,
      rounds: options.rounds,
    });
    for (let done = log.rows.length; done < records.length; done = log.rows.length) {
      signal.throwIfAborted();
      const revised = await revise(
        records.slice(done, done + options.atOnce),
        {
          ...options,
          constitution: read,
          policy,
          critic,
          signal,
          onPhase: (what) => progress.line(`${done} of ${records.length} prompts  ${what}`),
          onProgress: (part, all) => progress.count(part, all, "texts"),
        },
        done,
      );
      log.add(revised);
    }
    disposePolicy();
    disposeCritic();
    const demonstrations = log.rows.filter((row) => finalResponse(row) !== "");
    const changed = demonstrations.filter((row) => finalResponse(row) !== row.response).length;
    print(
      `${demonstrations.length} demonstrations with every critique in ${log.path}, ${changed} of them revised\nnext: plumbline sft --model ${options.model} --data ${log.path}`,
    );
  });

const judgeCommand = () =>
  addPhaseOptions(
    new Command("judge")
      .description("Compare answers by principles: comparisons with soft labels for reward and dpo")
      .requiredOption("--model <name>", "judge: name, Hub id, folder or run, or the server's model")
      .requiredOption("--data <file>", "file of prompts with two or more completions each")
      .option(
        "--people <file>",
        "human comparisons: measures the agreement with them, and calibrates the labels on them",
      )
      .option("--think", "let the judge reason before each verdict"),
  ).action(async (options: PhaseOptions & { people?: string; think?: boolean }) => {
    const read = readConstitution(options.constitution);
    const people = options.people === undefined ? undefined : (await readComparisons(options.people)).records;
    const rows = await readRows(options.data, options.columns);
    const { drafts } = readDrafts(options.data, rows, { isStrict: true });
    const pairs = drafts.flatMap(({ prompt, id, completions }) =>
      completions.flatMap((first, i) =>
        completions.slice(i + 1).map((second): AnswerPair => ({ prompt, id, answers: [first, second] })),
      ),
    );
    if (!pairs.length) throw new InputError(`${options.data}: no prompt has two answers to compare`);
    const progress = new Progress(false);
    const [feedback, disposeFeedback] = await openFeedback(options.model, options.endpoint, options);
    const signal = interruptSignal();
    const think = options.think ?? false;
    const log = openLog<JudgedPair>(options, "judgements", pairs.length, read, feedback.name, { think });
    for (let done = log.rows.length; done < pairs.length; done = log.rows.length) {
      signal.throwIfAborted();
      log.add(
        await prefer(pairs.slice(done, done + options.atOnce), {
          ...options,
          constitution: read,
          feedback,
          think,
          signal,
          onPhase: (what) => progress.line(`${done} of ${pairs.length} pairs  ${what}`),
          onProgress: (part, all) => progress.count(part, all, "texts"),
        }),
      );
    }
    disposeFeedback();
    const calibration = people && calibrate(log.rows, people);
    if (people && !calibration)
      progress.line("  people judged none of these pairs: labels are as sure as the model is");
    const out = join(options.out, "comparisons.jsonl");
    writeJsonl(
      out,
      log.rows.map((row) => toComparison(row, calibration?.scale)),
    );
    print(
      [
        `${log.rows.length} comparisons in ${out}; the verdicts of each principle in ${log.path}`,
        describeOrderBias(log.rows),
        ...(calibration ? [describeCalibration(calibration)] : []),
        `next: plumbline reward --model MODEL --data ${out}`,
      ].join("\n"),
    );
  });

/** Describes how often a verdict depends on the order of the answers. */
function describeOrderBias(rows: readonly JudgedPair[]): string {
  const verdicts = rows.flatMap(({ verdicts }) => verdicts);
  const reversed = verdicts.filter(({ shownFirst, shownSecond }) => shownFirst * shownSecond < 0).length;
  return `${Math.round((100 * reversed) / verdicts.length)} % of the verdicts turn with the order of the answers; both orders are averaged`;
}

const describeShare = ({ value, low, high }: Interval): string => {
  const [share, from, to] = [value, low, high].map((part) => (100 * part).toFixed(0));
  return `${share} % ${Number.isNaN(low) ? "[too few prompts to say]" : `[${from}, ${to}]`}`;
};

/** Describes the agreement with people. */
function describeCalibration({ pairs, accuracy, kappa, scale, ece }: Calibration): string {
  const { raw, scaled, ifCalibrated } = ece;
  const error = (value: number, perfect: number) =>
    `${value.toFixed(3)} (a calibrated one: ${perfect.toFixed(3)})`;
  return [
    `beside people, on ${pairs} pairs: the same side in ${describeShare(accuracy)}, κ ${kappa.kappa?.toFixed(2) ?? `none: ${kappa.reason}`}; log-odds times ${scale.toFixed(2)}`,
    `  calibration error ${error(raw, ifCalibrated.raw)} before, ${scaled === undefined ? "not known after, of a single prompt" : `${error(scaled, ifCalibrated.scaled)} after, on prompts that the factor was not fitted to`}`,
  ].join("\n");
}

/**
 * Opens the log in a folder, to continue from its rows. A file next to it holds the settings that made it.
 * @param total number of rows that the log will have
 * @throws InputError when the log was made with other settings
 */
function openLog<T>(
  { out, data, seed, atOnce }: PhaseOptions,
  name: string,
  total: number,
  constitution: Constitution,
  feedback: string,
  more: Record<string, unknown>,
): { path: string; rows: (T & { labeler: string })[]; add: (rows: readonly T[]) => void } {
  const [path, settingsPath] = [join(out, `${name}.jsonl`), join(out, `${name}.json`)];
  const settings = { feedback, data, seed, ...more, constitution };
  mkdirSync(out, { recursive: true });
  if (existsSync(settingsPath)) {
    const before = JSON.parse(readFileSync(settingsPath, "utf8"));
    const differs = Object.keys({ ...before, ...settings }).find(
      (key) => JSON.stringify(before[key]) !== JSON.stringify(settings[key as keyof typeof settings]),
    );
    if (differs !== undefined)
      throw new InputError(
        `${path} was made with another ${differs} (${settingsPath} says which): give another --out`,
      );
  } else if (existsSync(path))
    throw new InputError(`${path}: ${settingsPath}, which has the settings that made it, is missing`);
  else writeAtomic(settingsPath, (write) => write(`${JSON.stringify(settings, null, 2)}\n`));
  // A batch that a kill left incomplete is made again as a whole.
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
  const complete = lines.slice(0, lines.length === total ? total : lines.length - (lines.length % atOnce));
  writeAtomic(path, (write) => write(complete.map((line) => `${line}\n`).join("")));
  const rows = complete.map((line) => JSON.parse(line) as T & { labeler: string });
  const labeler = `${feedback} by ${constitution.name} ${constitution.hash}`;
  return {
    path,
    rows,
    add(added) {
      const labelled = added.map((row) => ({ ...row, labeler }));
      appendFileSync(path, labelled.map((row) => `${JSON.stringify(row)}\n`).join(""));
      rows.push(...labelled);
    },
  };
}
