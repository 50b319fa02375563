import { describe, expect, it } from "vitest";
import { goldenPath } from "../../test/golden.ts";
import { logprobsOf } from "../math/index.ts";
import { accumulate } from "../nn/accumulate.ts";
import { memory, noGrad, ops, scope, type Tensor, tensor } from "../tensor/index.ts";
import type { Model } from "./model.ts";
import { openModel } from "./open.ts";
import { pack } from "./pack.ts";

const batches = [
  [
    [5, 9, 2, 7, 11, 3],
    [4, 8],
  ],
  [[1, 2, 3]],
];

/** Gradients of everything that learns, over two micro-batches. */
function gradientsOf(model: Model): Map<string, number[]> {
  accumulate(
    batches,
    (sequences) => {
      const logits = model.logits(model.hidden(pack(sequences)));
      const targets = tensor(sequences.flat(), { dtype: "int64" });
      return { loss: logprobsOf(logits, targets).sum(), metrics: {} };
    },
    model,
  );
  const found = scope(
    () => new Map([...model.learned].map(([name, { grad }]) => [name, (grad as Tensor).toArray()])),
  );
  for (const weight of model.learned.values()) weight.grad = null;
  return found;
}

describe.each(["llama-tiny", "mistral-tiny", "gpt2-tiny"])("gradient checkpointing of %s", (name) => {
  // The oracle is the plain backward, which models.test.ts compares with transformers: the very same operators run.
  it.each(["all weights", "adapters"])(
    "gives the same gradients to %s, and leaves nothing behind",
    (what) => {
      const base = openModel(goldenPath(`models/${name}`), { dtype: "float32" });
      const model = base.clone({ share: true });
      if (what === "adapters") {
        model.addLora({ rank: 2 });
        noGrad(() => {
          for (const weight of model.learned.values()) ops.fill_(weight, 0.1);
        });
      }
      model.train();
      const plain = gradientsOf(model);
      model.checkpointing = true;
      const before = memory().handles;
      const checkpointed = gradientsOf(model);
      expect(memory().handles).toBe(before);
      expect([...checkpointed.keys()]).toEqual([...plain.keys()]);
      for (const [weight, gradient] of checkpointed) {
        const wanted = plain.get(weight) as number[];
        // Float32 sums of the same parts.
        const worst = Math.max(...gradient.map((g, i) => Math.abs(g - (wanted[i] as number))));
        expect(worst, weight).toBeLessThan(1e-5);
      }
      // Outside of training nothing is recorded.
      noGrad(() => scope(() => model.hidden(pack([[1, 2]]))));
      model.backwardBlocks();
      model.dispose();
      base.dispose();
    },
  );
});
