import {
  appendFileSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
} from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { diskError, InputError } from "../data/errors.ts";
import { isObject, writeAtomic } from "../data/jsonl.ts";
import type { Event } from "./events.ts";
import { takeLock } from "./lock.ts";

export interface RunOptions {
  stage: string;
  /** Settings and inputs of the command that began the run, for `--resume`. */
  command?: Record<string, unknown> | undefined;
  /** Effective config, which is stored as JSON. */
  config: Record<string, unknown>;
  /** SHA-256 of the training data, by the option's name. */
  data?: Record<string, string>;
  /** Versions of plumbline, node and libtorch. */
  versions: Record<string, string>;
  /** Models that the run starts from: run directories or model names. */
  parents: string[];
  /** Continues from the last checkpoint of an existing run. */
  resume: boolean;
}

/**
 * Version of the files in a run directory. Version 1 had no `format` and no `data`. Newer programs open older runs;
 * older ones refuse newer.
 */
const format = 2;

const runFile = z.object({
  format: z.int().default(1),
  stage: z.string(),
  config: z.record(z.string(), z.unknown()),
  data: z.record(z.string(), z.string()).default({}),
});
const bestFile = z.object({ step: z.number() });

/**
 * Opens the run directory `dir` for writing, and locks it until `finish()`.
 *
 * A new run needs a missing or empty directory. A resumed run needs the same stage, config and data; log lines after its
 * last checkpoint are removed, since those steps will run again. Without a checkpoint the run starts over.
 * @throws InputError when these conditions do not hold, or another process has the run open
 */
export function openRun(dir: string, options: RunOptions): Run {
  if (options.resume && !existsSync(join(dir, "run.json"))) {
    throw new InputError(`${dir}: there is no run to resume here; leave out --resume to start one`);
  }
  mkdirSync(dir, { recursive: true });
  const lock = join(dir, "lock");
  takeLock(lock);
  try {
    if (options.resume) checkSameRun(dir, options);
    else create(dir, options);
    mkdirSync(join(dir, "checkpoints"), { recursive: true });
    const run = new Run(dir);
    if (options.resume) run.rewind();
    return run;
  } catch (error) {
    rmSync(lock);
    throw diskError(error, dir);
  }
}

/** Writes run.json of a new run. @throws InputError when the directory is not empty */
function create(dir: string, { stage, command, config, data = {}, versions, parents }: RunOptions): void {
  // A process that was killed while it created the run leaves a lock or a temporary file, which are ignored.
  const present = readdirSync(dir).filter(
    (name) => !name.startsWith("lock") && !name.startsWith("run.json.tmp-"),
  );
  if (present.length > 0) {
    throw new InputError(
      `${dir}: the directory is not empty; use --resume to go on with its run, or another name`,
    );
  }
  const seed = config.seed === undefined ? {} : { seed: config.seed };
  const created = new Date().toISOString();
  writeJson(join(dir, "run.json"), {
    format,
    stage,
    command,
    config,
    data,
    ...seed,
    versions,
    created,
    parents,
  });
}

/** Checks that a run has the same stage, config and data. @throws InputError when it has not */
function checkSameRun(dir: string, { stage, config, data = {} }: RunOptions): void {
  const path = join(dir, "run.json");
  const before = readJson(path, runFile);
  if (before.format > format)
    throw new InputError(
      `${path}: the run has format ${before.format}, and this version knows formats up to ${format}: a newer one made it; update plumbline`,
    );
  if (before.stage !== stage) {
    throw new InputError(`${dir}: this is a run of ${before.stage}, not of ${stage}; use another name`);
  }
  // Through JSON, as the stored config, which has no undefined values.
  const keys = differingKeys(before.config, JSON.parse(JSON.stringify(config)));
  if (keys.length > 0) {
    throw new InputError(
      `${dir}: the config differs from the run's in ${keys.join(", ")}; a run resumes only with its own config (run.json)`,
    );
  }
  checkData(dir, before.data, data);
}

/** Checks that the data has not changed. Runs of format 1 have no hashes to compare. @throws InputError when it has */
function checkData(dir: string, before: Record<string, string>, now: Record<string, string>): void {
  const changed = Object.keys(before).filter((name) => name in now && now[name] !== before[name]);
  if (changed.length > 0)
    throw new InputError(
      `${dir}: ${changed.join(", ")} changed since the run began; a run resumes only on the data it began with: put it back, or begin a new run`,
    );
}

/** Lists the dotted paths at which two JSON values differ. */
function differingKeys(a: unknown, b: unknown, path = ""): string[] {
  if (isDeepStrictEqual(a, b)) return [];
  if (!isObject(a) || !isObject(b)) return [path];
  const keys = [...new Set([...Object.keys(a), ...Object.keys(b)])];
  return keys.flatMap((key) => differingKeys(a[key], b[key], path ? `${path}.${key}` : key));
}

/** A run directory open for writing: see `openRun`. */
export class Run {
  readonly dir: string;
  readonly #checkpoints: string;

  /** @internal Use `openRun`, which takes the lock. */
  constructor(dir: string) {
    this.dir = dir;
    this.#checkpoints = join(dir, "checkpoints");
  }

  /** Appends the event to `events.jsonl`, a sample to `samples.jsonl`. */
  write(event: Event): void {
    const path = this.#log(event.type === "sample" ? "samples" : "events");
    try {
      appendFileSync(path, `${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`);
    } catch (error) {
      throw diskError(error, path);
    }
  }

  /**
   * Saves a checkpoint atomically, then removes all but the newest `keep` checkpoints and the best one. A step that is
   * saved already is not saved again, unless `replace` is set.
   * @param write fills a temporary directory, which is renamed once its files are flushed to the disk
   * @returns the checkpoint's directory @throws DiskError when the disk is full
   */
  checkpoint(
    step: number,
    write: (dir: string) => void,
    { keep, best = false, replace = false }: CheckpointOptions,
  ): string {
    const dir = join(this.#checkpoints, `step-${step}`);
    const temporary = join(this.#checkpoints, `.tmp-${step}-${process.pid}`);
    try {
      if (replace || !isComplete(dir)) {
        if (!isComplete(dir)) rmSync(dir, { recursive: true, force: true });
        rmSync(temporary, { recursive: true, force: true });
        mkdirSync(temporary);
        write(temporary);
        syncTree(temporary);
        writeJson(join(temporary, "complete.json"), { step, created: new Date().toISOString() });
        const replaced = join(this.#checkpoints, `.replaced-${step}`);
        if (existsSync(dir)) renameSync(dir, replaced); // rewind() recovers from a kill before the next line
        renameSync(temporary, dir);
        syncPath(this.#checkpoints);
        rmSync(replaced, { recursive: true, force: true });
      }
      if (best) writeJson(join(this.#checkpoints, "best.json"), { step });
    } catch (error) {
      rmSync(temporary, { recursive: true, force: true });
      throw diskError(error, dir);
    }
    this.#prune(keep);
    return dir;
  }

  /** Finds the newest complete checkpoint. */
  latest(): Checkpoint | undefined {
    return newestCheckpoint(this.dir);
  }

  /** Finds the checkpoint that was last saved as the best. */
  best(): Checkpoint | undefined {
    const path = join(this.#checkpoints, "best.json");
    if (!existsSync(path)) return undefined;
    const { step } = readJson(path, bestFile);
    return this.#complete().find((checkpoint) => checkpoint.step === step);
  }

  /** Unlocks the directory. Call it in a `finally`; a second call does nothing. */
  finish(): void {
    if (this.#finished) return;
    this.#finished = true;
    rmSync(join(this.dir, "lock"), { force: true });
  }
  #finished = false;

  /** @internal Restores the directory to its state at the last checkpoint. */
  rewind(): void {
    for (const name of readdirSync(this.#checkpoints)) {
      const path = join(this.#checkpoints, name);
      const replaced = /^\.replaced-(\d+)$/.exec(name)?.[1];
      const dir = join(this.#checkpoints, `step-${replaced}`);
      if (name.includes("tmp-")) rmSync(path, { recursive: true });
      else if (replaced && !existsSync(dir)) renameSync(path, dir);
      else if (replaced) rmSync(path, { recursive: true });
      // A kill may have interrupted its removal.
      else if (name.startsWith("step-") && !isComplete(path)) rmSync(path, { recursive: true });
    }
    const step = this.latest()?.step;
    for (const name of ["events", "samples"] as const) truncateLog(this.#log(name), step);
  }

  #log(name: "events" | "samples"): string {
    return join(this.dir, `${name}.jsonl`);
  }

  #complete(): Checkpoint[] {
    return completeCheckpoints(this.#checkpoints);
  }

  #prune(keep: number): void {
    const best = this.best()?.step;
    for (const { step, dir } of this.#complete().slice(0, -Math.max(1, keep))) {
      if (step === best) continue;
      // complete.json is removed first, so that a half-removed checkpoint does not count as complete.
      rmSync(join(dir, "complete.json"));
      rmSync(dir, { recursive: true });
    }
  }
}

export interface CheckpointOptions {
  /** Number of newest checkpoints to keep, at least 1. */
  keep: number;
  /** Marks this checkpoint as the best so far, which is kept too. */
  best?: boolean;
  /** Saves the step again if it is saved already. */
  replace?: boolean;
}

/** A complete checkpoint. */
export interface Checkpoint {
  step: number;
  dir: string;
}

/** Returns the folder of a run's newest checkpoint; undefined if `dir` is no run directory. @throws InputError when the run has no checkpoint */
export function checkpointOfRun(dir: string): string | undefined {
  if (!existsSync(join(dir, "run.json"))) return undefined;
  const newest = newestCheckpoint(dir);
  if (!newest) throw new InputError(`${dir}: the run has no checkpoint yet`);
  return newest.dir;
}

/** Finds the newest complete checkpoint of a run. */
export const newestCheckpoint = (dir: string): Checkpoint | undefined =>
  completeCheckpoints(join(dir, "checkpoints")).at(-1);

/** Lists the complete checkpoints in a folder, oldest first. */
function completeCheckpoints(folder: string): Checkpoint[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .flatMap((name) => {
      const step = /^step-(\d+)$/.exec(name)?.[1];
      const dir = join(folder, name);
      return step !== undefined && isComplete(dir) ? [{ step: Number(step), dir }] : [];
    })
    .sort((a, b) => a.step - b.step);
}

function isComplete(dir: string): boolean {
  return existsSync(join(dir, "complete.json"));
}

/** Truncates a log before the first line that is after `step` or incomplete; without a step, empties it. */
function truncateLog(path: string, step: number | undefined): void {
  if (!existsSync(path)) return;
  const bytes = readFileSync(path);
  let end = 0;
  while (step !== undefined) {
    const next = bytes.indexOf("\n", end) + 1;
    const line = stepOf(bytes.toString("utf8", end, next));
    if (next === 0 || line === undefined || line > step) break;
    end = next;
  }
  truncateSync(path, end);
}

/** Returns the step of a log line, 0 if its event has none; undefined for an incomplete line. */
function stepOf(line: string): number | undefined {
  try {
    return z.object({ step: z.number().default(0) }).parse(JSON.parse(line)).step;
  } catch {
    return undefined;
  }
}

/** Flushes a directory and everything in it to the disk. */
function syncTree(dir: string): void {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory()) syncTree(path);
    else syncPath(path);
  }
  syncPath(dir);
}

function syncPath(path: string): void {
  const file = openSync(path, "r");
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function writeJson(path: string, value: unknown): void {
  writeAtomic(path, (write) => write(`${JSON.stringify(value, null, 2)}\n`));
}

function readJson<T>(path: string, schema: z.ZodType<T>): T {
  try {
    return schema.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) {
      throw new InputError(`${path}: the file is damaged: ${error.message}`);
    }
    throw error;
  }
}
