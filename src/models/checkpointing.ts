import { cat, gradEnabled, noGrad, ops, scope, type Tensor } from "../tensor/index.ts";
import type { RunBlock } from "./architecture.ts";

/** Tokens whose logits are in memory at once: enough for a product at full speed. */
const logitsAtOnce = 256;

/** Takes from a tensor with a value for each token those of some of them. */
export type Part = (all: Tensor) => Tensor;

/** Keeps each block's output alone for the gradient, and computes the block again for it (Chen et al. 2016). */
export class ActivationCheckpoints {
  #blocks: { block: (x: Tensor) => Tensor; input: Tensor; output: Tensor }[] = [];

  /** Computes a block without what its gradient needs. */
  run: RunBlock = (block, input) => {
    if (!gradEnabled()) return block(input);
    const output = noGrad(() => block(input));
    output.requiresGrad = true;
    this.#blocks.push({ block, input, output });
    return output;
  };

  /** `run` on some tokens of `hidden` at a time; `compute` returns tensors of (tokens), which are joined. */
  runInParts(hidden: Tensor, compute: (states: Tensor, part: Part) => Tensor[]): readonly Tensor[] {
    const tokens = hidden.size(0);
    const parts = Array.from({ length: Math.ceil(tokens / logitsAtOnce) }, (_, i) => {
      const start = i * logitsAtOnce;
      const part: Part = (all) => all.narrow(0, start, Math.min(logitsAtOnce, tokens - start));
      return this.run((states) => scope(() => ops.stack(compute(states, part), { dim: 1 })), part(hidden));
    });
    return ops.unbind(cat(parts), { dim: 1 });
  }

  /** Computes each block again, from the last, and takes the gradient through it. */
  backward(): void {
    for (const { block, input, output } of this.#blocks.splice(0).reverse())
      scope(() => {
        const { grad } = output;
        if (grad) block(input).backward(grad);
      });
  }
}
