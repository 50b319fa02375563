import { join } from "node:path";
import { evaluate, goldByPrompt } from "../eval/evaluate.ts";
import type { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { openReward } from "../rewards/open.ts";
import { isFinished } from "../rollout/sampler.ts";
import type { Trial } from "./compare.ts";
import { gold, type Instruction, loadInstructions } from "./task.ts";

/** Measures of a policy on the held-out instructions, with the SFT model's gold scores. */
export type Measurement = Pick<Trial, "golds" | "before" | "kl" | "length" | "finished">;

/**
 * Loads the models of a quickstart, and returns a function that measures a run on its held-out instructions, with two
 * answers to each.
 * @param from folder of the quickstart's runs @param limit most instructions to measure on
 */
export async function openMeasurement(
  from: string,
  { limit, signal }: { limit?: number | undefined; signal?: AbortSignal } = {},
): Promise<(run: string) => Promise<Measurement>> {
  const heldOut = loadInstructions("heldOut").slice(0, limit);
  const reference = await loadModel(join(from, "sft"));
  const scorer = await openReward(join(from, "reward"));
  const prompts = heldOut.map(({ prompt }) => ({ prompt: [{ role: "user" as const, content: prompt }] }));
  const evaluateModel = (model: Model) =>
    evaluate({
      model,
      reference,
      scorer,
      prompts,
      gold: (sample) =>
        gold(heldOut[sample.promptIndex] as Instruction, sample.text, { finished: isFinished(sample) }),
      samples: 2,
      maxTokens: 48,
      temperature: 0.7,
      batchSize: 384,
      seed: 0,
      signal,
    });
  let before: number[] | undefined;
  return async (run) => {
    before ??= goldByPrompt(await evaluateModel(reference), heldOut.length);
    const model = await loadModel(run);
    const evaluation = await evaluateModel(model);
    model.dispose();
    const { kl, length, finished } = evaluation;
    return { golds: goldByPrompt(evaluation, heldOut.length), before, kl, length, finished };
  };
}
