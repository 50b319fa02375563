import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { type DType, keep, noGrad, ops, Rng, scope, type Tensor, tensor, zeros } from "../tensor/index.ts";
import { copyWeights, readSafetensors, writeSafetensors } from "./files/safetensors.ts";

/** A linear value of another model's hidden states, in float32 and 0 at first: the critic that shares the policy's backbone. */
export class ValueHead {
  readonly learned: ReadonlyMap<string, Tensor>;
  #weight: Tensor;
  #bias: Tensor;

  constructor(hidden: number, device: string) {
    const own = (shape: number[]) => noGrad(() => scope(() => keep(zeros(shape).toDevice(device))));
    this.#weight = own([1, hidden]);
    this.#bias = own([1]);
    this.learned = new Map([
      ["score.weight", this.#weight],
      ["score.bias", this.#bias],
    ]);
  }

  /** (tokens, hidden) → (tokens) */
  scores(hidden: Tensor): Tensor {
    return ops.linear(hidden.to("float32"), this.#weight, { bias: this.#bias }).squeeze(-1);
  }

  /** Marks it as what gradients are computed for. */
  train(): this {
    for (const weight of this.learned.values()) weight.requiresGrad = true;
    return this;
  }

  save(folder: string): void {
    mkdirSync(folder, { recursive: true });
    writeSafetensors(join(folder, "model.safetensors"), this.learned);
  }

  /** Takes the weights that `save` wrote. @throws InputError when the folder holds another critic */
  restore(folder: string): this {
    const path = join(folder, "model.safetensors");
    scope(() => {
      const saved = readSafetensors(path);
      // A network's scalar head goes by the same names.
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
  std: number;
  seed?: number;
  bias?: boolean;
}

/** Weights of a fresh scalar head: from N(0, std²), or zeros; a bias of 0 where `bias`. */
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
