import { describe, expect, it } from "vitest";
import { goldenPath } from "../../test/golden.ts";
import { pack } from "../batch/pack.ts";
import { entropyOf, logprobsOf } from "../math/index.ts";
import { accumulate } from "../nn/accumulate.ts";
import { memory, noGrad, ops, scope, type Tensor, tensor } from "../tensor/index.ts";
import type { Model } from "./model.ts";
import { openModel } from "./open.ts";

// The first has more tokens than `readLogits` takes at once: two parts, the last not whole.
const batches = [[...Array.from({ length: 45 }, (_, i) => [5, 9, 2, 7, 11, 3 + i]), [4, 8]], [[1, 2, 3]]];

/** A loss over two micro-batches, with entropies as well, and gradients of everything that learns. */
function learn(model: Model): { loss: number; gradients: Map<string, number[]> } {
  const { loss } = accumulate(
    batches,
    (sequences) => {
      const targets = tensor(sequences.flat(), { dtype: "int64" });
      const sizes: number[] = [];
      const [logprobs, entropy] = model.readLogits(model.hidden(pack(sequences)), (logits, part) => {
        sizes.push(logits.size(0));
        return [logprobsOf(logits, part(targets)), entropyOf(logits)];
      }) as [Tensor, Tensor];
      const whole = targets.size(0);
      expect(sizes).toEqual(model.gradientCheckpointing && whole > 256 ? [256, whole - 256] : [whole]);
      return { loss: logprobs.add(entropy.mul(0.5)).sum().div(272), metrics: {} };
    },
    model,
  );
  const gradients = scope(
    () => new Map([...model.learned].map(([name, { grad }]) => [name, (grad as Tensor).toArray()])),
  );
  for (const weight of model.learned.values()) weight.grad = null;
  return { loss: loss as number, gradients };
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
      const plain = learn(model);
      model.gradientCheckpointing = true;
      const before = memory().handles;
      const checkpointed = learn(model);
      expect(memory().handles).toBe(before);
      expect(checkpointed.loss).toBeCloseTo(plain.loss, 5);
      expect([...checkpointed.gradients.keys()]).toEqual([...plain.gradients.keys()]);
      for (const [weight, gradient] of checkpointed.gradients) {
        const wanted = plain.gradients.get(weight) as number[];
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
