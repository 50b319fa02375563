import { type DType, keep, noGrad, ops, scope, type Tensor, tensor, zeros } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

export interface AdamWOptions {
  betas?: readonly [number, number];
  eps?: number;
  /** Applied to matrices only: norms and biases are not decayed. */
  weightDecay?: number;
}

interface Slot {
  parameter: Tensor;
  /**
   * For a bfloat16 parameter what its float32 master has beyond it, so that a rate of 1e-6 moves it: the master's bits
   * are the parameter's, followed by 16 zeros, plus this int16.
   */
  low: Tensor | null;
  m: Tensor;
  v: Tensor;
  decay: number;
}

/** The float32 master of a bfloat16 parameter and its low half. */
export const joinMaster = (parameter: Tensor, low: Tensor): Tensor =>
  ops.view(ops.__lshift__(ops.view(parameter, "int16").to("int32"), 16).add(low.to("int32")), "float32");

/** A float32 master as the nearest bfloat16, and what is left. */
export function splitMaster(master: Tensor): { parameter: Tensor; low: Tensor } {
  const bits = ops.view(master, "int32");
  const high = ops.__rshift__(bits.add(0x8000), 16);
  const low = bits.sub(ops.__lshift__(high, 16)).to("int16");
  return { parameter: ops.view(high.to("int16"), "bfloat16"), low };
}

/** A slot for each parameter. Their tensors are views of one a kind: apart, hundreds of them would scatter the heap. */
function makeSlots(parameters: ReadonlyMap<string, Tensor>, weightDecay: number): Map<string, Slot> {
  const total = [...parameters.values()].reduce((sum, { numel }) => sum + numel, 0);
  const device = [...parameters.values()][0]?.device ?? "cpu";
  const whole = (dtype: DType) => zeros([total], dtype).toDevice(device);
  const someNarrow = [...parameters.values()].some(({ dtype }) => dtype === "bfloat16");
  const [m, v, low] = [whole("float32"), whole("float32"), someNarrow ? whole("int16") : null];
  let start = 0;
  const slots = [...parameters].map(([name, parameter]) => {
    const part = (of: Tensor) => keep(of.narrow(0, start, parameter.numel).view(...parameter.shape));
    const narrow = parameter.dtype === "bfloat16";
    const decay = parameter.shape.length > 1 ? weightDecay : 0;
    const slot: Slot = { parameter, low: low && narrow ? part(low) : null, m: part(m), v: part(v), decay };
    start += parameter.numel;
    return [name, slot] as const;
  });
  return new Map(slots);
}

/** Decoupled weight decay Adam (Loshchilov & Hutter 2019), with float32 masters for bfloat16 parameters. */
export class AdamW {
  #slots: Map<string, Slot>;
  #step: Tensor;
  #options: { beta1: number; beta2: number; eps: number };

  constructor(parameters: ReadonlyMap<string, Tensor>, options: AdamWOptions = {}) {
    const [beta1, beta2] = options.betas ?? [0.9, 0.999];
    this.#options = { beta1, beta2, eps: options.eps ?? 1e-8 };
    this.#step = tensor([0], { shape: [] });
    this.#step.kept = true;
    this.#slots = noGrad(() => scope(() => makeSlots(parameters, options.weightDecay ?? 0)));
  }

  /**
   * One step along the accumulated gradients, scaled so that their global norm is at most `maxNorm`; frees them.
   * @returns the norm before clipping. When it is not finite nothing moves.
   */
  step(lr: number, maxNorm = Infinity): number {
    return noGrad(() =>
      scope(() => {
        const slots = [...this.#slots.values()].filter((slot) => slot.parameter.grad !== null);
        const norm = this.#norm(slots);
        // As torch's clip_grad_norm_: 1e-6 keeps the quotient finite.
        const scale = Math.min(1, maxNorm / (norm + 1e-6));
        if (Number.isFinite(norm)) this.#step.add_(1);
        for (const slot of slots) {
          if (Number.isFinite(norm)) scope(() => this.#move(slot, lr, scale));
          slot.parameter.grad = null;
        }
        return norm;
      }),
    );
  }

  #norm(slots: Slot[]): number {
    const gradients = slots.map(({ parameter }) => parameter.grad as Tensor);
    const norm = kernels.globalNorm(gradients);
    if (norm !== null) return norm;
    const norms = gradients.map((gradient) => ops.linalg_vector_norm(gradient, { dtype: "float32" }));
    return norms.length ? ops.linalg_vector_norm(ops.stack(norms)).item() : 0;
  }

  #move({ parameter, low, m, v, decay }: Slot, lr: number, scale: number): void {
    const { beta1, beta2, eps } = this.#options;
    const gradient = parameter.grad as Tensor;
    if (low !== null) {
      const step = this.#step.item();
      if (kernels.adamwSplit(parameter, low, m, v, gradient, step, lr, beta1, beta2, eps, decay, scale))
        return;
    }
    const master = low === null ? parameter : joinMaster(parameter, low);
    const own = gradient.to("float32");
    if (scale < 1) own.mul_(scale);
    const options = { lr, beta1, beta2, eps, weight_decay: decay, amsgrad: false, maximize: false };
    ops._fused_adamw_([master], [own], [m], [v], [], [this.#step], options);
    if (low === null) return;
    const halves = splitMaster(master);
    parameter.copy_(halves.parameter);
    low.copy_(halves.low);
  }

  /** Every tensor of the optimiser's state, by name: what a checkpoint saves and `load` restores. */
  state(): Map<string, Tensor> {
    const state = new Map([["step", this.#step]]);
    for (const [name, { low, m, v }] of this.#slots) {
      if (low) state.set(`low.${name}`, low);
      state.set(`m.${name}`, m);
      state.set(`v.${name}`, v);
    }
    return state;
  }

  /** Restores what `state` gave; the parameters are their owner's to restore. */
  load(saved: ReadonlyMap<string, Tensor>): void {
    noGrad(() => {
      for (const [name, own] of this.state()) {
        const from = saved.get(name);
        if (!from) throw new Error(`the optimiser's checkpoint has no "${name}"`);
        own.copy_(from);
      }
    });
  }

  dispose(): void {
    this.#step.dispose();
    for (const { low, m, v } of this.#slots.values()) for (const own of [m, v, low]) own?.dispose();
  }
}
