import { loadModel } from "../models/pull.ts";
import type { DType } from "../tensor/index.ts";
import { type Feedback, modelFeedback, serverFeedback } from "./feedback.ts";

/**
 * Opens a feedback model.
 * @param endpoint OpenAI-compatible server that has it; undefined for a model in this process
 * @returns the model, and a function that frees it
 */
export async function openFeedback(
  name: string,
  endpoint: string | undefined,
  { dtype }: { dtype?: DType },
): Promise<[Feedback, dispose: () => void]> {
  if (endpoint !== undefined)
    return [serverFeedback({ url: endpoint, model: name, key: process.env.OPENAI_API_KEY }), () => {}];
  const model = await loadModel(name, dtype ? { dtype } : {});
  return [modelFeedback(model, name), () => model.dispose()];
}
