import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { type DType, keep, noGrad, ops, Rng, scope, type Tensor, tensor, zeros } from "../tensor/index.ts";
import { copyWeights, readSafetensors, writeSafetensors } from "./files/safetensors.ts";

/** Critic that shares the policy's backbone: a linear layer on its hidden states, in float32, initialised to 0. */
export class ValueHead {
  /** Trainable tensors by name. */
  readonly learned: ReadonlyMap<string, Tensor>;
  #weight: Tensor;
  #bias: Tensor;

  constructor(hidden: number, device: string) {
    const makeZeros = (shape: number[]) => noGrad(() => scope(() => keep(zeros(shape).toDevice(device))));
    this.#weight = makeZeros([1, hidden]);
    this.#bias = makeZeros([1]);
    this.learned = new Map([
      ["score.weight", this.#weight],
      ["score.bias", this.#bias],
    ]);
  }

  /** Computes values: (tokens, hidden) → (tokens). */
  scores(hidden: Tensor): Tensor {
    return ops.linear(hidden.to("float32"), this.#weight, { bias: this.#bias }).squeeze(-1);
  }

  /** Sets `requiresGrad` of its tensors. */
  train(): this {
    for (const weight of this.learned.values()) weight.requiresGrad = true;
    return this;
  }

  /** Saves the head as model.safetensors. */
  save(folder: string): void {
    mkdirSync(folder, { recursive: true });
    writeSafetensors(join(folder, "model.safetensors"), this.learned);
  }

  /** Loads weights that `save` wrote. @throws InputError when the folder holds a different critic */
  restore(folder: string): this {
    const path = join(folder, "model.safetensors");
    scope(() => {
      const saved = readSafetensors(path);
      // A critic that is a whole model has a scalar head of the same names.
      if (saved.size !== this.learned.size)
        throw new InputError(`${path}: holds more than a value head: was it saved by another critic?`);
      copyWeights(this.learned, saved, path, "was it saved with another policy?");
    });
    return this;
  }

  dispose(): void {
    for (const weight of this.learned.values()) weight.dispose();
  }
}

export interface HeadOptions {
  /** Standard deviation of the initial weights; 0 makes zeros. */
  std: number;
  /** Seed of the initial weights. Default: 0. */
  seed?: number;
  /** Whether the head has a bias, initialised to 0. Default: false. */
  bias?: boolean;
}

/** Makes the weights of a new scalar head, by name: (1, hidden) from N(0, std²), and with `bias` a bias of 0. */
export function makeScoreHead(
  hidden: number,
  dtype: DType,
  { std, seed = 0, bias = false }: HeadOptions,
): Map<string, Tensor> {
  const weight = ops.zeros([1, hidden]);
  if (std) ops.normal_(weight, { std, generator: new Rng(seed) });
  const head = new Map([["score.weight", weight.to(dtype)]]);
  return bias ? head.set("score.bias", tensor([0], { dtype })) : head;
}
