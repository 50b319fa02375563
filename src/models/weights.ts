import { swiglu } from "../nn/block.ts";
import { gatedLinear, linear } from "../nn/linear.ts";
import { type DType, keep, ops, scope, type Tensor } from "../tensor/index.ts";
import type { Weights } from "./architecture.ts";

/** A linear layer. */
export interface LinearLayer {
  /** Name of its weight, without `.weight`. */
  stem: string;
  inputs: number;
  outputs: number;
  device: string;
}

/** Whether the last part of a layer's name is one of `targets`. */
export const isTarget = (stem: string, targets: readonly string[]): boolean =>
  targets.includes(stem.slice(stem.lastIndexOf(".") + 1));

/** Weights in the model's dtype. Some may belong to another model, which disposes them. */
export class PlainWeights implements Weights {
  readonly tensors: Map<string, Tensor>;
  readonly #borrowed: Set<string>;
  /** Whether linear weights are stored as (in, out), not (out, in). */
  readonly transposed: boolean;

  constructor(tensors: Map<string, Tensor>, transposed: boolean, borrowed: Iterable<string>) {
    this.tensors = keep(tensors);
    this.transposed = transposed;
    this.#borrowed = new Set(borrowed);
  }

  find(name: string): Tensor | null {
    return this.tensors.get(name) ?? null;
  }

  get(name: string): Tensor {
    const weight = this.tensors.get(name);
    if (!weight) throw new Error(`the model has no weight "${name}"`);
    return weight;
  }

  matrix(name: string): Tensor | null {
    return this.transposed || this.tensors.has(`${name}.bias`) ? null : this.find(`${name}.weight`);
  }

  linear(name: string, x: Tensor): Tensor {
    const weight = this.get(`${name}.weight`);
    const bias = this.find(`${name}.bias`);
    return linear(x, this.transposed ? weight.transpose(0, 1) : weight, bias);
  }

  gatedLinear(name: string, gate: Tensor, up: Tensor): Tensor {
    return this.tensors.has(`${name}.bias`)
      ? this.linear(name, swiglu(gate, up))
      : gatedLinear(gate, up, this.get(`${name}.weight`));
  }

  /** Lists the linear layers whose names end in one of `targets`. */
  linears(targets: readonly string[]): LinearLayer[] {
    return [...this.tensors].flatMap(([name, weight]) => {
      const stem = name.replace(/\.weight$/, "");
      if (stem === name || !isTarget(stem, targets)) return [];
      const [rows, columns] = weight.shape as [number, number];
      const [outputs, inputs] = this.transposed ? [columns, rows] : [rows, columns];
      return [{ stem, inputs, outputs, device: weight.device }];
    });
  }

  /** Copies all weights, converted to `dtype`. */
  copy(dtype: DType): Map<string, Tensor> {
    const copyOf = (from: Tensor) => scope(() => keep(ops.to(from.detach(), dtype, { copy: true })));
    return new Map([...this.tensors].map(([name, from]) => [name, copyOf(from)]));
  }

  /** Removes a weight, and frees it unless it belongs to another model. */
  remove(name: string): void {
    if (!this.#borrowed.has(name)) this.tensors.get(name)?.dispose();
    this.tensors.delete(name);
  }

  /** Replaces the weights of these names. The model then owns all its weights. */
  replace(weights: ReadonlyMap<string, Tensor>): void {
    for (const [name, weight] of weights) {
      const old = this.tensors.get(name);
      const isBorrowed = this.#borrowed.has(name);
      this.tensors.set(name, keep(weight === old && isBorrowed ? weight.clone() : weight));
      if (weight !== old && !isBorrowed) old?.dispose();
    }
    this.#borrowed.clear();
  }

  dispose(): void {
    for (const [name, weight] of this.tensors) if (!this.#borrowed.has(name)) weight.dispose();
  }
}
