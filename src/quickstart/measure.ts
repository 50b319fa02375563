import { join } from "node:path";
import { evaluate, goldByPrompt } from "../eval/evaluate.ts";
import type { Model } from "../models/model.ts";
import { loadModel } from "../models/pull.ts";
import { openReward } from "../rewards/open.ts";
import { isFinished } from "../rollout/sampler.ts";
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
  const scorer = await openReward(join(from, "reward"));
  const prompts = heldOut.map(({ prompt }) => ({ prompt: [{ role: "user" as const, content: prompt }] }));
  const answer = (model: Model) =>
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
    before ??= goldByPrompt(await answer(reference), heldOut.length);
    const model = await loadModel(run);
    const evaluation = await answer(model);
    model.dispose();
    const { kl, length, finished } = evaluation;
    return { golds: goldByPrompt(evaluation, heldOut.length), before, kl, length, finished };
  };
}
