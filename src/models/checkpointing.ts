import { cat, gradEnabled, noGrad, ops, scope, type Tensor } from "../tensor/index.ts";
import type { RunBlock } from "./architecture.ts";

/** Number of tokens whose logits are in memory at a time: enough for a matrix product at full speed. */
const logitsChunk = 256;

/** Selects the values of a chunk of the tokens from a tensor (tokens). */
export type Part = (all: Tensor) => Tensor;

/**
 * Gradient checkpointing (Chen et al. 2016): stores only the input and output of each block, and recomputes the block
 * in the backward pass.
 */
export class ActivationCheckpoints {
  #blocks: { block: (x: Tensor) => Tensor; input: Tensor; output: Tensor }[] = [];

  /** Runs a block without storing activations for the backward pass. */
  run: RunBlock = (block, input) => {
    if (!gradEnabled()) return block(input);
    const output = noGrad(() => block(input));
    output.requiresGrad = true;
    this.#blocks.push({ block, input, output });
    return output;
  };

  /**
   * Runs `compute` on chunks of the tokens, each checkpointed.
   * @param hidden (tokens, hidden) @param compute returns tensors of (chunk tokens) @returns their concatenations, (tokens)
   */
  runInParts(hidden: Tensor, compute: (states: Tensor, part: Part) => Tensor[]): readonly Tensor[] {
    const tokens = hidden.size(0);
    const parts = Array.from({ length: Math.ceil(tokens / logitsChunk) }, (_, i) => {
      const start = i * logitsChunk;
      const part: Part = (all) => all.narrow(0, start, Math.min(logitsChunk, tokens - start));
      return this.run((states) => scope(() => ops.stack(compute(states, part), { dim: 1 })), part(hidden));
    });
    return ops.unbind(cat(parts), { dim: 1 });
  }

  /** Recomputes each block, from the last to the first, and propagates the gradient through it. */
  backward(): void {
    for (const { block, input, output } of this.#blocks.splice(0).reverse())
      scope(() => {
        const { grad } = output;
        if (grad) block(input).backward(grad);
      });
  }
}
