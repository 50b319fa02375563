import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import type { Event, SampleEvent } from "./events.ts";

// Reads run directories, for the command line, reports and web pages. run.ts writes them.

const runFile = z.looseObject({
  format: z.int().default(1),
  stage: z.string(),
  created: z.string(),
  config: z.record(z.string(), z.unknown()),
  /** Settings and inputs of the command that began the run. Runs of earlier versions have none. */
  command: z.record(z.string(), z.unknown()).optional(),
  parents: z.array(z.string()).default([]),
});
/** Contents of run.json. */
export type RunFile = z.output<typeof runFile>;

/** Whether a folder is a run directory. */
export const isRun = (dir: string): boolean => existsSync(join(dir, "run.json"));

/** Reads run.json. @throws InputError when `dir` is no run directory, or the file is damaged */
export function readRunFile(dir: string): RunFile {
  const path = join(dir, "run.json");
  if (!isRun(dir))
    throw new InputError(`${dir}: not a run: it has no run.json. \`plumbline runs\` lists them`);
  try {
    return runFile.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    const what = error instanceof SyntaxError ? "not JSON" : "not the file of a run";
    throw new InputError(`${path}: ${what}: ${(error as Error).message}`);
  }
}

/** Reads the events of a run, without its samples. */
export const readEvents = (dir: string): Event[] => readLog(join(dir, "events.jsonl"));

/** Reads the samples of a run, in the order of its steps. */
export const readSamples = (dir: string): SampleEvent[] =>
  readLog(join(dir, "samples.jsonl")).filter((event) => event.type === "sample");

/** Reads the events in a log file. An incomplete last line, which a kill may leave, is skipped. */
function readLog(path: string): Event[] {
  if (!existsSync(path)) return [];
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return line ? [JSON.parse(line) as Event] : [];
      } catch {
        return [];
      }
    });
}

/** Summary of a run, for lists. */
export interface RunSummary {
  run: string;
  stage: string;
  created: string;
  state: "done" | "interrupted" | "running or killed" | "stopped";
  /** Last step in its log. */
  step: number;
}

/** Summarises a run. @throws InputError when `dir` is no run directory */
export function summariseRun(dir: string): RunSummary {
  const { stage, created } = readRunFile(dir);
  const events = readEvents(dir);
  const last = events.at(-1)?.type;
  const isLocked = existsSync(join(dir, "lock"));
  return {
    run: dir,
    stage,
    created,
    state: last === "done" || last === "interrupted" ? last : isLocked ? "running or killed" : "stopped",
    step: Math.max(0, ...events.map((event) => ("step" in event ? event.step : 0))),
  };
}

/** Finds the run directories in a folder, two levels deep, oldest first. */
export function findRuns(folder: string, depth = 2): RunSummary[] {
  if (!existsSync(folder)) return [];
  if (isRun(folder)) return [summariseRun(folder)];
  if (!depth) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => findRuns(join(folder, entry.name), depth - 1))
    .sort((a, b) => a.created.localeCompare(b.created));
}
