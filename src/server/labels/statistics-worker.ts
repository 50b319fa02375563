import { existsSync } from "node:fs";
import { MessageChannel, Worker } from "node:worker_threads";
import { disputedTasks, labelerQuality } from "../../labels/labelers.ts";
import { projectQuality } from "../../labels/quality.ts";
import type { Project } from "../../labels/records.ts";
import type { LabelStore } from "../../labels/store.ts";

/** What is reckoned from all of a project's judgements, which takes a while. */
export const statistics = { quality: projectQuality, labelers: labelerQuality, disputes: disputedTasks };
type Statistics = typeof statistics;

export interface StatisticsRequest {
  statistic: keyof Statistics;
  project: Project;
}
export type StatisticsResult = { found: unknown } | { failed: string };

/** The other thread's program; it is there where the package is built. */
const program = new URL("./statistics-worker-thread.js", import.meta.url);

/**
 * Reckons measures in a thread of its own, with a connection of its own: meanwhile nobody waits for a task. A store in
 * memory has one connection, and sources run in one thread: there the measures are reckoned in this one.
 */
export class StatisticsWorker {
  readonly #store: LabelStore;
  #thread: Worker | undefined;

  constructor(store: LabelStore) {
    this.#store = store;
  }

  async compute<K extends keyof Statistics>(
    measure: K,
    project: Project,
  ): Promise<Awaited<ReturnType<Statistics[K]>>> {
    const store = this.#store;
    type Found = Awaited<ReturnType<Statistics[K]>>;
    if (store.location === ":memory:" || !existsSync(program))
      return statistics[measure](store, project) as Promise<Found>;
    this.#thread ??= this.#start();
    const { port1: near, port2: far } = new MessageChannel();
    this.#thread.postMessage({ measure, project, port: far }, [far]);
    const told = await new Promise<StatisticsResult>((resolve) => {
      near.once("message", resolve);
      // Its other end closes with the thread.
      near.once("close", () => resolve({ failed: "the thread that measures has ended" }));
    });
    near.close();
    if ("failed" in told) throw new Error(told.failed);
    return told.found as Found;
  }

  #start(): Worker {
    const thread = new Worker(program, { workerData: this.#store.location });
    thread.once("error", (error) => console.error(error));
    thread.once("exit", () => {
      if (this.#thread === thread) this.#thread = undefined;
    });
    // It keeps no process alive.
    thread.unref();
    return thread;
  }

  async close(): Promise<void> {
    await this.#thread?.terminate();
  }
}
