import { parentPort, workerData } from "node:worker_threads";
import { LabelStore } from "../../labels/store.ts";
import { type StatisticsRequest, type StatisticsResult, statistics } from "./statistics-worker.ts";

// Runs in the worker thread of `StatisticsWorker`: computes each requested statistic and posts it to the request's port.

const storePromise = LabelStore.open(workerData);

parentPort?.on("message", async ({ statistic, project, port }: StatisticsRequest) => {
  const respond = (result: StatisticsResult) => port.postMessage(result);
  try {
    respond({ value: await statistics[statistic](await storePromise, project) });
  } catch (error) {
    respond({ error: String((error as Error).stack) });
  }
  port.close();
});
