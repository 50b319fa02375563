import { readFileSync } from "node:fs";
import { join } from "node:path";
import { torchVersion } from "../../native/locate.mjs";
import type { Message } from "../data/records.ts";
import type { Event, Metrics } from "./events.ts";
import { type Checkpoint, openRun, type Run } from "./run.ts";
import { TensorBoardWriter } from "./tensorboard.ts";
import { Interrupted } from "./training.ts";
import type { Warning } from "./warnings.ts";

export interface JournalOptions {
  /** The run directory; without one nothing is written. */
  run?: string | undefined;
  resume?: boolean | undefined;
  stage: string;
  config: Record<string, unknown>;
  parents: string[];
}

/** Where a trainer's events and checkpoints go: a run directory with TensorBoard files, or nowhere. */
export class Journal {
  /** Where to go on from. */
  readonly from: Checkpoint | undefined;
  readonly #run: Run | undefined;
  readonly #board: TensorBoardWriter | undefined;

  constructor({ run, resume = false, ...options }: JournalOptions) {
    this.#run = run === undefined ? undefined : openRun(run, { ...options, versions: versions(), resume });
    this.#board = run === undefined ? undefined : new TensorBoardWriter(join(run, "tensorboard"));
    this.from = resume ? this.#run?.latest() : undefined;
  }

  get dir(): string | undefined {
    return this.#run?.dir;
  }

  /** Writes an event, and gives it back to be yielded. */
  log(event: Event): Event {
    this.#run?.write(event);
    if ((event.type === "step" || event.type === "eval") && this.#board)
      this.#board.scalars(event.step, event.metrics);
    return event;
  }

  step(step: number, total: number, metrics: Metrics): Event {
    return this.log({ type: "step", step, total, metrics });
  }

  *warn(warnings: Warning[]): globalThis.Generator<Event> {
    for (const warning of warnings) yield this.log({ type: "warning", ...warning });
  }

  /** Responses of a step, each with its score. */
  *samples(
    step: number,
    responses: readonly { prompt: readonly Message[]; response: string; finished: boolean }[],
    scores: readonly number[],
  ): globalThis.Generator<Event> {
    for (const [i, { prompt, response, finished }] of responses.entries())
      yield this.log({
        type: "sample",
        step,
        prompt: prompt.at(-1)?.content ?? "",
        response,
        finished,
        score: scores[i] as number,
      });
  }

  /** Saves a checkpoint by `write`, where there is a run. */
  *save(
    step: number,
    write: (dir: string) => void,
    options: { keep: number; best?: boolean },
  ): globalThis.Generator<Event> {
    if (this.#run)
      yield this.log({ type: "checkpoint", step, path: this.#run.checkpoint(step, write, options) });
  }

  /** Saves, says so, and throws `Interrupted`. */
  *interrupt(
    step: number,
    write: (dir: string) => void,
    options: { keep: number },
  ): globalThis.Generator<Event> {
    yield* this.save(step, write, options);
    yield this.log({ type: "interrupted", step });
    throw new Interrupted(`interrupted after step ${step}${this.#run ? "; add --resume to go on" : ""}`);
  }

  close(): void {
    this.#board?.close();
    this.#run?.finish();
  }
}

function versions(): Record<string, string> {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return { plumbline: version, node: process.version, libtorch: torchVersion };
}

/** Data as a run's config names it: its file, or how much was given. */
export const inWords = (data: string | readonly unknown[]): string =>
  typeof data === "string" ? data : `${data.length} records`;

/** The JSON a checkpoint's `write` left. */
export const readState = <T>(dir: string): T => JSON.parse(readFileSync(join(dir, "state.json"), "utf8"));
