import { existsSync } from "node:fs";
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { countExports } from "../../labels/export.ts";
import { disputedTasks, labelerQuality } from "../../labels/labelers.ts";
import { projectQuality } from "../../labels/quality.ts";
import type { Project } from "../../labels/records.ts";
import type { LabelStore } from "../../labels/store.ts";

/** Statistics that read all judgements of a project, and so take up to seconds. */
export const statistics = {
  quality: projectQuality,
  labelers: labelerQuality,
  disputes: disputedTasks,
  exports: countExports,
};
type Statistics = typeof statistics;

export interface StatisticsRequest {
  statistic: keyof Statistics;
  project: Project;
  /** Port that the result is sent to. */
  port: MessagePort;
}
export type StatisticsResult = { value: unknown } | { error: string };

/** Compiled code of the worker thread. It exists in the built package, not beside the TypeScript sources. */
const threadFile = new URL("./statistics-worker-thread.js", import.meta.url);

/**
 * Computes project statistics in a worker thread with its own database connection, so that the main thread keeps serving
 * tasks. A store in memory cannot be opened twice, and TypeScript sources cannot be run in a thread: there they are
 * computed in the main thread.
 */
export class StatisticsWorker {
  readonly #store: LabelStore;
  #thread: Worker | undefined;

  constructor(store: LabelStore) {
    this.#store = store;
  }

  async compute<K extends keyof Statistics>(
    statistic: K,
    project: Project,
  ): Promise<Awaited<ReturnType<Statistics[K]>>> {
    const store = this.#store;
    type Value = Awaited<ReturnType<Statistics[K]>>;
    if (store.location === ":memory:" || !existsSync(threadFile))
      return statistics[statistic](store, project) as Promise<Value>;
    this.#thread ??= this.#start();
    const { port1: resultPort, port2: threadPort } = new MessageChannel();
    const request: StatisticsRequest = { statistic, project, port: threadPort };
    this.#thread.postMessage(request, [threadPort]);
    const result = await new Promise<StatisticsResult>((resolve) => {
      resultPort.once("message", resolve);
      // The port also closes when the thread ends.
      resultPort.once("close", () =>
        resolve({ error: "the statistics thread ended before it sent a result" }),
      );
    });
    resultPort.close();
    if ("error" in result) throw new Error(result.error);
    return result.value as Value;
  }

  #start(): Worker {
    const thread = new Worker(threadFile, { workerData: this.#store.location });
    thread.once("error", (error) => console.error(error));
    thread.once("exit", () => {
      if (this.#thread === thread) this.#thread = undefined;
    });
    // An idle thread must not keep the process alive.
    thread.unref();
    return thread;
  }

  async close(): Promise<void> {
    await this.#thread?.terminate();
  }
}
