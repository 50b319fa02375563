import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { LabelStore } from "../../labels/store.ts";
import { type Asked, measures, type Told } from "./statistics-worker.ts";

// The thread of `Aside`: what it is asked comes with a port for the answer.

const opening = LabelStore.open(workerData);

parentPort?.on("message", async ({ measure, project, port }: Asked & { port: MessagePort }) => {
  const tell = (told: Told) => port.postMessage(told);
  try {
    tell({ found: await measures[measure](await opening, project) });
  } catch (error) {
    tell({ failed: String((error as Error).stack) });
  }
  port.close();
});
