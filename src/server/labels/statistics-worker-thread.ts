import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { LabelStore } from "../../labels/store.ts";
import { type StatisticsRequest, type StatisticsResult, statistics } from "./statistics-worker.ts";

// The thread of `Aside`: what it is asked comes with a port for the answer.

const opening = LabelStore.open(workerData);

parentPort?.on(
  "message",
  async ({ statistic: measure, project, port }: StatisticsRequest & { port: MessagePort }) => {
    const tell = (told: StatisticsResult) => port.postMessage(told);
    try {
      tell({ found: await statistics[measure](await opening, project) });
    } catch (error) {
      tell({ failed: String((error as Error).stack) });
    }
    port.close();
  },
);
