import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import type { Event, SampleEvent } from "./events.ts";

// Reads run directories, for the command line, reports and pages. What writes them is run.ts.

const runFile = z.looseObject({
  format: z.int().default(1),
  stage: z.string(),
  created: z.string(),
  config: z.record(z.string(), z.unknown()),
  parents: z.array(z.string()).default([]),
});
/** What run.json says of a run. */
export type RunFile = z.output<typeof runFile>;

export const isRun = (dir: string): boolean => existsSync(join(dir, "run.json"));

/** @throws InputError when `dir` is no run */
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

/** Events of a run, without its samples. */
export const readEvents = (dir: string): Event[] => readLog(join(dir, "events.jsonl"));

/** Samples of a run, in the order of its steps. */
export const readSamples = (dir: string): SampleEvent[] =>
  readLog(join(dir, "samples.jsonl")).filter((event) => event.type === "sample");

/** The lines of a log. One that a kill has torn is left out. */
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

/** A run in a list. */
export interface RunSummary {
  run: string;
  stage: string;
  created: string;
  state: "done" | "interrupted" | "running or killed" | "stopped";
  /** Steps that its log has. */
  step: number;
}

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

/** Run directories in a folder, two levels deep, oldest first. */
export function findRuns(folder: string, depth = 2): RunSummary[] {
  if (!existsSync(folder)) return [];
  if (isRun(folder)) return [summariseRun(folder)];
  if (!depth) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => findRuns(join(folder, entry.name), depth - 1))
    .sort((a, b) => a.created.localeCompare(b.created));
}
