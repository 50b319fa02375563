import { afterAll, describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { tokenLogprobs } from "../batch/score.ts";
import { generate } from "../rollout/generate.ts";
import { mismatch, mismatchWarnings } from "./mismatch.ts";

const model = tinyModel(0);
afterAll(() => model.dispose());
const minTokens = 6;
const stopIds = Array.from({ length: 60 }, (_, id) => id); // a fifth of the vocabulary

/** Completions of at least `minTokens` tokens, and the trainer's log-probs of their tokens. */
async function sample(options: { topK?: number } = {}) {
  const samples = await generate(model, [[70, 80, 90]], {
    maxTokens: 20,
    minTokens,
    stopIds,
    samples: 16,
    ...options,
  });
  return { samples, trainer: tokenLogprobs(model, samples).flat() };
}

describe("the comparison of sampler and trainer", () => {
  it("leaves out tokens that were sampled without stop tokens", async () => {
    const { samples, trainer } = await sample();
    const metrics = mismatch(trainer, samples, { minTokens });
    // float32 in another order of sums; with the first tokens the mean would be about 0.9.
    expect(Math.abs((metrics["val/rollout_ratio"] as number) - 1)).toBeLessThan(1e-5);
    expect(Math.abs((metrics["val/rollout_ratio_worst"] as number) - 1)).toBeLessThan(1e-4);
    expect(mismatch(trainer, samples, { minTokens: 0 })["val/rollout_ratio"]).toBeLessThan(0.95);
    expect(mismatchWarnings(metrics, model)).toEqual([]);
  });

  it("warns of a trainer that disagrees about the others", async () => {
    const { samples, trainer } = await sample();
    const shifted = trainer.map((logprob) => logprob + 0.01);
    const [warning] = mismatchWarnings(mismatch(shifted, samples, { minTokens }), model);
    expect(warning?.code).toBe("rollout-trainer-mismatch");
  });

  it("says nothing where no token is comparable", async () => {
    const { samples, trainer } = await sample();
    expect(mismatch(trainer, samples, { minTokens: 20 })).toEqual({});
    const cut = await sample({ topK: 5 });
    expect(mismatch(cut.trainer, cut.samples, { minTokens, topK: 5 })).toEqual({});
  });
});
