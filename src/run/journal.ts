import { createHash } from "node:crypto";
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Message } from "../data/records.ts";
import type { Event, Metrics } from "./events.ts";
import { type Checkpoint, type CheckpointOptions, openRun, type Run } from "./run.ts";
import { TensorBoardWriter } from "./tensorboard.ts";
import { Interrupted } from "./training.ts";
import type { Warning } from "./warnings.ts";

export interface JournalOptions {
  /** Run directory. Without it nothing is written. */
  run?: string | undefined;
  /** Continues from the run's last checkpoint. */
  resume?: boolean | undefined;
  /** Settings and inputs of the command, for run.json. */
  command?: Record<string, unknown> | undefined;
  stage: string;
  /** Effective config of the stage. */
  config: Record<string, unknown>;
  /** Training data by the option's name: a file, or records in memory. */
  data: Record<string, string | readonly unknown[] | undefined>;
  /** Versions for run.json: of plumbline, Node and libtorch. */
  versions: Record<string, string>;
  /** Models that the run starts from: run directories or model names. */
  parents: string[];
}

/** A completion to log. */
interface LoggedSample {
  prompt: Message[];
  id?: string;
  text: string;
  finishReason: "stop" | "length" | null;
  score: number;
  parts: Record<string, number>;
  disagreement?: number;
  distance?: number;
  tokens: number[];
  mask: number[];
  logprobs: number[];
  /** More lists of one number per token, by name. */
  perToken?: Record<string, number[]>;
}

/** Log of a training: writes events, checkpoints and TensorBoard files to the run directory, if there is one. */
export class Journal {
  /** Checkpoint to continue from; undefined for a new run. */
  readonly from: Checkpoint | undefined;
  readonly #run: Run | undefined;
  readonly #tensorboard: TensorBoardWriter | undefined;

  constructor({ run, resume = false, command, stage, config, data, versions, parents }: JournalOptions) {
    const dataDescriptions = mapValues(data, describeData);
    this.#run =
      run === undefined
        ? undefined
        : openRun(run, {
            stage,
            command,
            config: { ...config, ...dataDescriptions },
            data: mapValues(data, hashData),
            versions,
            parents,
            resume,
          });
    this.from = resume ? this.#run?.latest() : undefined;
    const nextStep = resume ? (this.from?.step ?? 0) + 1 : undefined;
    this.#tensorboard =
      run === undefined ? undefined : new TensorBoardWriter(join(run, "tensorboard"), nextStep);
  }

  /** Run directory, if there is one. */
  get dir(): string | undefined {
    return this.#run?.dir;
  }

  /** The checkpoint that was last saved as the best; undefined without a run directory. */
  get best(): Checkpoint | undefined {
    return this.#run?.best();
  }

  /** Writes an event. @returns the event, for the trainer to yield */
  log(event: Event): Event {
    this.#run?.write(event);
    if ((event.type === "step" || event.type === "eval") && this.#tensorboard)
      this.#tensorboard.scalars(event.step, event.metrics);
    return event;
  }

  /** Logs a step's metrics. */
  step(step: number, total: number, metrics: Metrics): Event {
    return this.log({ type: "step", step, total, metrics });
  }

  /** Logs and yields warnings. */
  *warn(warnings: readonly Warning[]): Generator<Event> {
    for (const warning of warnings) yield this.log({ type: "warning", ...warning });
  }

  /** Logs and yields completions of a step. */
  *samples(step: number, samples: readonly LoggedSample[]): Generator<Event> {
    for (const [i, sample] of samples.entries())
      yield this.log({
        type: "sample",
        step,
        id: `${step}-${i}`,
        ...(sample.id === undefined ? {} : { promptId: sample.id }),
        prompt: sample.prompt.at(-1)?.content ?? "",
        messages: sample.prompt,
        response: sample.text,
        finished: sample.finishReason === "stop",
        score: sample.score,
        ...(Object.keys(sample.parts).length > 1 ? { parts: sample.parts } : {}),
        ...(sample.disagreement === undefined ? {} : { disagreement: sample.disagreement }),
        ...(sample.distance === undefined ? {} : { distance: sample.distance }),
        tokens: {
          ids: sample.tokens,
          mask: sample.mask,
          logprobs: sample.logprobs,
          ...sample.perToken,
        },
      });
  }

  /** Saves a checkpoint, if there is a run directory, and yields its event. @param write fills the checkpoint's directory */
  *save(step: number, write: (dir: string) => void, options: CheckpointOptions): Generator<Event> {
    if (this.#run)
      yield this.log({ type: "checkpoint", step, path: this.#run.checkpoint(step, write, options) });
  }

  /** Logs the interruption and throws `Interrupted`. */
  *interrupt(step: number): Generator<Event, never> {
    yield this.log({ type: "interrupted", step });
    const how = this.#run ? `; to go on: --resume ${this.#run.dir}` : "";
    throw new Interrupted(`interrupted after step ${step}${how}`);
  }

  /** Closes the files and unlocks the run directory. */
  close(): void {
    this.#tensorboard?.close();
    this.#run?.finish();
  }
}

const mapValues = <A, B>(record: Record<string, A | undefined>, map: (value: A) => B): Record<string, B> =>
  Object.fromEntries(
    Object.entries(record).flatMap(([name, value]) => (value === undefined ? [] : [[name, map(value)]])),
  );

/** Describes data in a run's config: its file, or the number of records in memory. */
const describeData = (data: string | readonly unknown[]): string =>
  typeof data === "string" ? data : `${data.length} records`;

/** Computes the SHA-256 of a file, or of records as JSON. A run resumes only if its data has the same hash. */
function hashData(data: string | readonly unknown[]): string {
  const hash = createHash("sha256");
  if (typeof data !== "string") return hash.update(JSON.stringify(data)).digest("hex");
  const file = openSync(data, "r");
  try {
    const buffer = Buffer.alloc(1 << 20);
    for (let read = readSync(file, buffer); read > 0; read = readSync(file, buffer))
      hash.update(buffer.subarray(0, read));
  } finally {
    closeSync(file);
  }
  return hash.digest("hex");
}

/** Reads state.json of a checkpoint. */
export const readState = <T>(dir: string): T => JSON.parse(readFileSync(join(dir, "state.json"), "utf8"));
