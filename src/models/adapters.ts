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
import { type DType, keep, noGrad, ops, Rng, scope, type Tensor } from "../tensor/index.ts";
import type { Weights } from "./architecture.ts";
import type { StoredTensor } from "./files/safetensors.ts";
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

/** Adapters that were trained together. */
export interface AdapterSet {
  config: LoraConfig;
  /** By the stems of their layers' names. */
  adapters: ReadonlyMap<string, Adapter>;
}

/** What PEFT puts before a weight's name. */
const peftPrefix = "base_model.model.";

/** Returns the tensors of adapters by PEFT's names. */
export function adapterTensors({ adapters }: AdapterSet): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [stem, { a, b }] of adapters) {
    tensors.set(`${peftPrefix}${stem}.lora_A.weight`, a);
    tensors.set(`${peftPrefix}${stem}.lora_B.weight`, b);
  }
  return tensors;
}

/** Returns the tensors of a scalar head by PEFT's names; none for a model without one. */
export const headTensors = (weights: Pick<Weights, "find">): [string, Tensor][] =>
  ["score.weight", "score.bias"].flatMap((name): [string, Tensor][] => {
    const weight = weights.find(name);
    return weight ? [[`${peftPrefix}${name}`, weight]] : [];
  });

/** Copies adapters, converted to `dtype`. Default: as they are. */
function copySet({ config, adapters }: AdapterSet, dtype?: DType): AdapterSet {
  const copy = (x: Tensor) =>
    noGrad(() => scope(() => keep(ops.to(x.detach(), dtype ?? x.dtype, { copy: true }))));
  const copies = [...adapters].map(
    ([stem, { a, b, scale }]) => [stem, { a: copy(a), b: copy(b), scale }] as const,
  );
  return { config, adapters: new Map(copies) };
}

/** Computes what an adapter adds to its layer's weight, (in, out) where weights are stored `transposed`. */
function storedDelta(adapter: Adapter, transposed: boolean): Tensor {
  const delta = deltaWeight(adapter);
  return transposed ? delta.transpose(0, 1) : delta;
}

/**
 * Subtracts an adapter from a weight that it was merged into in float32. Rounded to its dtype before the merge, the
 * result is the weight of before, except where that was below 2⁻¹⁵ of what the adapter adds.
 */
export const unmerge = (merged: Tensor, adapter: Adapter, transposed: boolean): Tensor =>
  scope(() => merged.sub(storedDelta(adapter, transposed)));

/**
 * Weights whose linear layers may have low-rank adapters (LoRA; Hu et al. 2021): those in training, and those of earlier
 * trainings, which stay beside the weights, since in bfloat16 most of what they add would be rounded away.
 */
export class LoraWeights implements Weights {
  readonly #base: QuantisedWeights;
  /** Adapters of earlier trainings, first to last. */
  #frozen: AdapterSet[] = [];
  #trained: AdapterSet | undefined;
  /** Sets that belong to another model, which disposes them. */
  readonly #borrowed = new Set<AdapterSet>();

  constructor(base: QuantisedWeights) {
    this.#base = base;
  }

  /** Settings of the adapters in training; undefined while there are none. */
  get config(): LoraConfig | undefined {
    return this.#trained?.config;
  }

  /** All adapters, first to last. */
  get sets(): readonly AdapterSet[] {
    return this.#trained ? [...this.#frozen, this.#trained] : this.#frozen;
  }

  #adaptersOf(name: string): Adapter[] {
    return this.sets.flatMap(({ adapters }) => adapters.get(name) ?? []);
  }

  find(name: string): Tensor | null {
    return this.#base.find(name);
  }

  get(name: string): Tensor {
    return this.#base.get(name);
  }

  matrix(name: string): Tensor | null {
    return this.#adaptersOf(name).length ? null : this.#base.matrix(name);
  }

  linear(name: string, x: Tensor): Tensor {
    return this.#adaptersOf(name).reduce(
      (y, adapter) => addAdapterOutput(y, x, adapter),
      this.#base.linear(name, x),
    );
  }

  gatedLinear(name: string, gate: Tensor, up: Tensor): Tensor {
    return this.#adaptersOf(name).length
      ? this.linear(name, swiglu(gate, up))
      : this.#base.gatedLinear(name, gate, up);
  }

  /**
   * Adds adapters to linear layers, to be trained.
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
    const adapters = new Map<string, Adapter>();
    for (const { stem, inputs, outputs, device } of this.#base.linears(targets))
      adapters.set(stem, makeAdapter([inputs, outputs], lora, dtype, device, generator));
    this.#trained = { config: { ...lora, targets }, adapters };
  }

  /** Adds adapters of earlier trainings. @param borrowed whether they stay another model's */
  addFrozen(sets: readonly AdapterSet[], borrowed = false): void {
    for (const set of sets) {
      this.#frozen.push(set);
      if (borrowed) this.#borrowed.add(set);
    }
  }

  /** Ends the training of adapters, and copies those that belong to another model. */
  freeze(): void {
    this.#frozen = this.sets.map((set) => (this.#borrowed.has(set) ? copySet(set) : set));
    this.#trained = undefined;
    this.#borrowed.clear();
  }

  /** Copies all adapters, converted to `dtype`. */
  copySets(dtype: DType): AdapterSet[] {
    return this.sets.map((set) => copySet(set, dtype));
  }

  /** Trainable tensors by PEFT's names: the adapters, and the scalar head if there is one. */
  get learned(): Map<string, Tensor> {
    return new Map([...(this.#trained ? adapterTensors(this.#trained) : []), ...headTensors(this)]);
  }

  /**
   * Returns all weights with the adapters merged into them, those with adapters in float32. Each is merged when its bytes
   * are written: all of them together would take twice the model's memory.
   */
  toStore(): Map<string, StoredTensor> {
    const all = new Map<string, StoredTensor>();
    for (const [name, weight] of this.#base.merged()) {
      const adapters = this.#adaptersOf(name.replace(/\.weight$/, ""));
      const merged = () =>
        adapters.reduce(
          (sum, adapter) => sum.add(storedDelta(adapter, this.#base.transposed)),
          weight.to("float32"),
        );
      const bytes = () => noGrad(() => scope(() => merged().contiguous().bytes()));
      const { shape, numel } = weight;
      all.set(name, adapters.length ? { dtype: "float32", shape, numel, bytes } : weight);
    }
    return all;
  }

  dispose(): void {
    for (const set of this.sets)
      if (!this.#borrowed.has(set))
        for (const { a, b } of set.adapters.values()) for (const part of [a, b]) part.dispose();
    this.#frozen = [];
    this.#trained = undefined;
  }
}
