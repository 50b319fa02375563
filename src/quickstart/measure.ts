import { join } from "node:path";
import { evaluate } from "../eval/evaluate.ts";
import { mean } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import type { Trial } from "./compare.ts";
import { gold, type Instruction, loadInstructions } from "./task.ts";

/** What a policy answers held-out instructions, beside the SFT model that it began from. */
export type Measured = Pick<Trial, "golds" | "before" | "kl" | "length" | "finished">;

/**
 * Measures runs on the quickstart's held-out instructions, two answers to each.
 * @param from a quickstart's runs: its SFT model and its reward model @param limit instructions to measure on
 */
export async function measurer(
  from: string,
  { limit, signal }: { limit?: number | undefined; signal?: AbortSignal } = {},
): Promise<(run: string) => Promise<Measured>> {
  const heldOut = loadInstructions("heldOut").slice(0, limit);
  const reference = await loadModel(join(from, "sft"));
  const judge = await loadModel(join(from, "reward"));
  const prompts = heldOut.map(({ prompt }) => [{ role: "user" as const, content: prompt }]);
  const answer = (model: Model) =>
    evaluate({
      model,
      reference,
      judge,
      prompts,
      gold: (i, response) => gold(heldOut[i] as Instruction, response.text, response),
      samples: 2,
      maxTokens: 48,
      temperature: 0.7,
      batchSize: 384,
      seed: 0,
      signal,
    });
  const byInstruction = ({ responses, golds }: Awaited<ReturnType<typeof answer>>) =>
    heldOut.map((_, i) => mean(golds.filter((_, row) => responses[row]?.prompt === i)));
  let before: number[] | undefined;
  return async (run) => {
    before ??= byInstruction(await answer(reference));
    const model = await loadModel(run);
    const found = await answer(model);
    model.dispose();
    const { kl, length, finished } = found;
    return { golds: byInstruction(found), before, kl, length, finished };
  };
}
