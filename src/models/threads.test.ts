import { afterAll, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { pack } from "../batch/pack.ts";
import { logprobsOf } from "../math/index.ts";
import { capabilities, scope, type Tensor, tensor, threads } from "../tensor/index.ts";
import { globalNorm } from "../tensor/kernels.ts";
import type { Model } from "./model.ts";

const before = threads();
afterAll(() => void threads(before));

// Sequences and vectors large enough that every kernel divides its work.
const sequences = [300, 37, 150].map((length, s) => Array.from({ length }, (_, i) => (7 * i + 31 * s) % 250));

/** Log-probs, the gradient of every weight, and the norm of all gradients. */
function learn(model: Model, count: number): number[][] {
  threads(count);
  return scope(() => {
    const targets = tensor(sequences.flat(), { dtype: "int64" });
    const logprobs = logprobsOf(model.logits(model.hidden(pack(sequences))), targets);
    logprobs.mean().backward();
    const gradients = [...model.learned.values()].map(({ grad }) => grad as Tensor);
    for (const weight of model.learned.values()) weight.grad = null;
    return [logprobs.toArray(), ...gradients.map((x) => x.toArray()), [globalNorm(gradients) as number]];
  });
}

// Only our products promise it: libtorch may divide sums by threads.
it.skipIf(!capabilities().fastBf16)("gives the same bits with any number of threads", () => {
  const sizes = {
    hidden_size: 192,
    intermediate_size: 384,
    num_attention_heads: 6,
    num_key_value_heads: 2,
    head_dim: 32,
    max_position_embeddings: 512,
  };
  const model = tinyModel(1, sizes, "bfloat16");
  model.train();
  const wanted = learn(model, 1);
  for (const count of [2, 3, 5]) expect(learn(model, count)).toEqual(wanted);
});
