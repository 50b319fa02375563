import { InputError } from "../data/errors.ts";
import { swiglu } from "../nn/block.ts";
import { type Adapter, addAdapterOutput, deltaWeight, makeAdapter } from "../nn/lora.ts";
import { type LoraConfig, loraConfig } from "../nn/lora-config.ts";
import {
  type Bits,
  blockSize,
  dequantise,
  type Quantised,
  quantise,
  quantisedLinear,
} from "../nn/quantise.ts";
import { type DType, keep, Rng, scope, type Tensor } from "../tensor/index.ts";
import type { Weights } from "./architecture.ts";
import { isTarget, type LinearLayer, type PlainWeights } from "./weights.ts";

/** Weights whose linear layers may be quantised to 8 or 4 bits. Quantised layers are frozen. */
export class QuantisedWeights implements Weights {
  readonly #base: PlainWeights;
  /** Quantised layers by the stems of their names. Their weights are removed from `#base`. */
  readonly #layers = new Map<string, Quantised>();
  /** Stems of layers that belong to another model, which disposes them. */
  readonly #borrowed = new Set<string>();

  constructor(base: PlainWeights) {
    this.#base = base;
  }

  get transposed(): boolean {
    return this.#base.transposed;
  }

  get isEmpty(): boolean {
    return this.#layers.size === 0;
  }

  find(name: string): Tensor | null {
    return this.#base.find(name);
  }

  get(name: string): Tensor {
    return this.#base.get(name);
  }

  matrix(name: string): Tensor | null {
    return this.#layers.has(name) ? null : this.#base.matrix(name);
  }

  linear(name: string, x: Tensor): Tensor {
    const layer = this.#layers.get(name);
    if (!layer) return this.#base.linear(name, x);
    const y = quantisedLinear(x, layer);
    const bias = this.find(`${name}.bias`);
    return bias ? y.add(bias) : y;
  }

  gatedLinear(name: string, gate: Tensor, up: Tensor): Tensor {
    return this.#layers.has(name)
      ? this.linear(name, swiglu(gate, up))
      : this.#base.gatedLinear(name, gate, up);
  }

  linears(targets: readonly string[]): LinearLayer[] {
    const layers = [...this.#layers].filter(([stem]) => isTarget(stem, targets));
    return [
      ...this.#base.linears(targets),
      ...layers.map(([stem, { scales }]) => ({
        stem,
        inputs: scales.size(1) * blockSize,
        outputs: scales.size(0),
        device: scales.device,
      })),
    ];
  }

  /**
   * Quantises the linear layers whose names end in one of `targets`.
   * @throws InputError when the number of inputs is not a multiple of the block size
   */
  quantise(targets: readonly string[], bits: Bits): void {
    for (const { stem, inputs } of this.#base.linears(targets)) {
      if (inputs % blockSize !== 0)
        throw new InputError(`quantise: ${stem} has ${inputs} inputs, which ${blockSize} does not divide`);
      const { values, scales } = quantise(this.get(`${stem}.weight`), bits);
      this.#layers.set(stem, { values: keep(values), scales: keep(scales) });
      this.#base.remove(`${stem}.weight`);
    }
  }

  /** Shares the quantised layers of `other`, which must not be disposed before this. */
  borrow(other: QuantisedWeights): void {
    for (const [stem, layer] of other.#layers) {
      this.#layers.set(stem, layer);
      this.#borrowed.add(stem);
    }
  }

  /** Returns all weights as matrices, the quantised ones dequantised to the model's dtype. */
  merged(): Map<string, Tensor> {
    const all = new Map(this.#base.tensors);
    const [first] = all.values();
    const dtype = first?.dtype ?? "float32";
    for (const [stem, layer] of this.#layers) all.set(`${stem}.weight`, dequantise(layer, dtype));
    return all;
  }

  /** Copies all weights as matrices in `dtype`, the quantised ones dequantised. */
  copy(dtype: DType): Map<string, Tensor> {
    const all = this.#base.copy(dtype);
    for (const [stem, layer] of this.#layers)
      all.set(
        `${stem}.weight`,
        scope(() => keep(dequantise(layer, dtype))),
      );
    return all;
  }

  dispose(): void {
    for (const [stem, { values, scales }] of this.#layers)
      if (!this.#borrowed.has(stem)) for (const part of [values, scales]) part.dispose();
    this.#layers.clear();
  }
}

/** Weights whose linear layers may have low-rank adapters (LoRA; Hu et al. 2021). */
export class LoraWeights implements Weights {
  readonly #base: QuantisedWeights;
  readonly #adapters = new Map<string, Adapter>();
  /** Settings of the adapters; undefined while there are none. */
  config: LoraConfig | undefined;

  constructor(base: QuantisedWeights) {
    this.#base = base;
  }

  find(name: string): Tensor | null {
    return this.#base.find(name);
  }

  get(name: string): Tensor {
    return this.#base.get(name);
  }

  matrix(name: string): Tensor | null {
    return this.#adapters.has(name) ? null : this.#base.matrix(name);
  }

  linear(name: string, x: Tensor): Tensor {
    const y = this.#base.linear(name, x);
    const adapter = this.#adapters.get(name);
    return adapter ? addAdapterOutput(y, x, adapter) : y;
  }

  gatedLinear(name: string, gate: Tensor, up: Tensor): Tensor {
    return this.#adapters.has(name)
      ? this.linear(name, swiglu(gate, up))
      : this.#base.gatedLinear(name, gate, up);
  }

  /**
   * Adds adapters to linear layers.
   * @param linears last parts of the names of the layers that can have one
   * @throws InputError when a target is not among them
   */
  add(settings: Partial<LoraConfig>, linears: readonly string[], dtype: DType, seed: number): void {
    const lora = loraConfig.parse(settings);
    const targets = [...(lora.targets ?? linears)];
    const unknown = targets.find((target) => !linears.includes(target));
    if (unknown !== undefined)
      throw new InputError(`lora: no layer is called "${unknown}" (${linears.join(", ")} are)`);
    const generator = new Rng(seed);
    for (const { stem, inputs, outputs, device } of this.#base.linears(targets))
      this.#adapters.set(stem, makeAdapter([inputs, outputs], lora, dtype, device, generator));
    this.config = { ...lora, targets };
  }

  /** Trainable tensors by PEFT's names: the adapters, and the scalar head if there is one. */
  get learned(): Map<string, Tensor> {
    const learned = new Map<string, Tensor>();
    const set = (name: string, weight: Tensor) => learned.set(`base_model.model.${name}`, weight);
    for (const [stem, { a, b }] of this.#adapters) {
      set(`${stem}.lora_A.weight`, a);
      set(`${stem}.lora_B.weight`, b);
    }
    for (const name of ["score.weight", "score.bias"]) {
      const weight = this.find(name);
      if (weight) set(name, weight);
    }
    return learned;
  }

  /** Returns all weights with the adapters merged into them. */
  merged(): Map<string, Tensor> {
    const all = this.#base.merged();
    for (const [stem, adapter] of this.#adapters) {
      const name = `${stem}.weight`;
      const weight = all.get(name) as Tensor;
      const sum = scope(() => {
        const delta = deltaWeight(adapter);
        const oriented = this.#base.transposed ? delta.transpose(0, 1) : delta;
        return weight.to("float32").add(oriented).to(weight.dtype).contiguous();
      });
      all.set(name, sum);
    }
    return all;
  }

  dispose(): void {
    for (const { a, b } of this.#adapters.values()) for (const part of [a, b]) part.dispose();
    this.#adapters.clear();
    this.config = undefined;
  }
}
