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
  /** The run directory; without one nothing is written. */
  run?: string | undefined;
  resume?: boolean | undefined;
  stage: string;
  config: Record<string, unknown>;
  /** Data by the option's name: a file, or records. */
  data: Record<string, string | readonly unknown[] | undefined>;
  /** Versions of what trains: plumbline, node, libtorch. */
  versions: Record<string, string>;
  parents: string[];
}

/** What the log keeps of a completion. */
interface LoggedSample {
  prompt: Message[];
  id?: string;
  text: string;
  finishReason: "stop" | "length" | null;
  score: number;
  parts: Record<string, number>;
  tokens: number[];
  mask: number[];
  logprobs: number[];
  /** More lists of one number for each token, by name. */
  perToken?: Record<string, number[]>;
}

/** Where a trainer's events and checkpoints go: a run directory with TensorBoard files, or nowhere. */
export class Journal {
  /** Where to go on from. */
  readonly from: Checkpoint | undefined;
  readonly #run: Run | undefined;
  readonly #board: TensorBoardWriter | undefined;

  constructor({ run, resume = false, stage, config, data, versions, parents }: JournalOptions) {
    const described = mapValues(data, describeData);
    this.#run =
      run === undefined
        ? undefined
        : openRun(run, {
            stage,
            config: { ...config, ...described },
            data: mapValues(data, hashData),
            versions,
            parents,
            resume,
          });
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

  *warn(warnings: readonly Warning[]): Generator<Event> {
    for (const warning of warnings) yield this.log({ type: "warning", ...warning });
  }

  /** Completions of a step. */
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
        tokens: {
          ids: sample.tokens,
          mask: sample.mask,
          logprobs: sample.logprobs,
          ...sample.perToken,
        },
      });
  }

  /** Saves a checkpoint by `write`, where there is a run. */
  *save(step: number, write: (dir: string) => void, options: CheckpointOptions): Generator<Event> {
    if (this.#run)
      yield this.log({ type: "checkpoint", step, path: this.#run.checkpoint(step, write, options) });
  }

  /** Logs the interrupt and throws `Interrupted`. */
  *interrupt(step: number): Generator<Event, never> {
    yield this.log({ type: "interrupted", step });
    throw new Interrupted(`interrupted after step ${step}${this.#run ? "; add --resume to go on" : ""}`);
  }

  close(): void {
    this.#board?.close();
    this.#run?.finish();
  }
}

const mapValues = <A, B>(record: Record<string, A | undefined>, map: (value: A) => B): Record<string, B> =>
  Object.fromEntries(
    Object.entries(record).flatMap(([name, value]) => (value === undefined ? [] : [[name, map(value)]])),
  );

/** Data as a run's config names it: its file, or how many records were given. */
const describeData = (data: string | readonly unknown[]): string =>
  typeof data === "string" ? data : `${data.length} records`;

/** SHA-256 of a file's bytes, or of records as JSON: by it a resumed run knows its data again. */
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

/** The JSON a checkpoint's `write` left. */
export const readState = <T>(dir: string): T => JSON.parse(readFileSync(join(dir, "state.json"), "utf8"));
