import { type DType, keep, noGrad, ops, scope, type Tensor, tensor, zeros } from "../tensor/index.ts";
import * as kernels from "../tensor/kernels.ts";

export interface AdamWOptions {
  /** Decay rates of the first and second moment. Default: 0.9 and 0.999. */
  betas?: readonly [number, number];
  /** Added to the root of the second moment. Default: 1e-8. */
  eps?: number;
  /** Decoupled weight decay, applied to matrices only, not to norms and biases. Default: 0. */
  weightDecay?: number;
}

/** Optimiser state of a parameter. */
interface Slot {
  parameter: Tensor;
  /**
   * Low half of the float32 master weight of a bfloat16 parameter, so that updates of 1e-6 are not lost to rounding.
   * The master's bits are the parameter's, followed by 16 zeros, plus this int16.
   */
  low: Tensor | null;
  /** First moment, float32. */
  m: Tensor;
  /** Second moment, float32. */
  v: Tensor;
  /** Weight decay. */
  decay: number;
}

/** Joins a bfloat16 parameter and the low half, int16, to its float32 master weight. */
export const joinMaster = (parameter: Tensor, low: Tensor): Tensor =>
  ops.view(ops.__lshift__(ops.view(parameter, "int16").to("int32"), 16).add(low.to("int32")), "float32");

/** Splits a float32 master weight into the nearest bfloat16 and the low half, int16. */
export function splitMaster(master: Tensor): { parameter: Tensor; low: Tensor } {
  const bits = ops.view(master, "int32");
  const high = ops.__rshift__(bits.add(0x8000), 16);
  const low = bits.sub(ops.__lshift__(high, 16)).to("int16");
  return { parameter: ops.view(high.to("int16"), "bfloat16"), low };
}

/** Makes the state of each parameter: views of one tensor for each of m, v and low, since hundreds of small tensors would fragment the heap. */
function makeSlots(parameters: ReadonlyMap<string, Tensor>, weightDecay: number): Map<string, Slot> {
  const total = [...parameters.values()].reduce((sum, { numel }) => sum + numel, 0);
  const device = [...parameters.values()][0]?.device ?? "cpu";
  const allocate = (dtype: DType) => zeros([total], dtype).toDevice(device);
  const hasBfloat16 = [...parameters.values()].some(({ dtype }) => dtype === "bfloat16");
  const [m, v, low] = [allocate("float32"), allocate("float32"), hasBfloat16 ? allocate("int16") : null];
  let start = 0;
  const slots = [...parameters].map(([name, parameter]) => {
    const slice = (flat: Tensor) => keep(flat.narrow(0, start, parameter.numel).view(...parameter.shape));
    const isBfloat16 = parameter.dtype === "bfloat16";
    const decay = parameter.shape.length > 1 ? weightDecay : 0;
    const slot: Slot = {
      parameter,
      low: low && isBfloat16 ? slice(low) : null,
      m: slice(m),
      v: slice(v),
      decay,
    };
    start += parameter.numel;
    return [name, slot] as const;
  });
  return new Map(slots);
}

/** AdamW (Loshchilov & Hutter 2019), with float32 master weights for bfloat16 parameters. */
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
   * Updates the parameters by their accumulated gradients, and frees the gradients. The gradients are scaled so that
   * their global norm is at most `maxNorm`. If the norm is not finite, no parameter changes.
   * @returns the norm before clipping
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
          if (Number.isFinite(norm)) scope(() => this.#update(slot, lr, scale));
          slot.parameter.grad = null;
        }
        return norm;
      }),
    );
  }

  /** Computes the global L2 norm of the gradients. */
  #norm(slots: Slot[]): number {
    const gradients = slots.map(({ parameter }) => parameter.grad as Tensor);
    const norm = kernels.globalNorm(gradients);
    if (norm !== null) return norm;
    const norms = gradients.map((gradient) => ops.linalg_vector_norm(gradient, { dtype: "float32" }));
    return norms.length ? ops.linalg_vector_norm(ops.stack(norms)).item() : 0;
  }

  #update({ parameter, low, m, v, decay }: Slot, lr: number, scale: number): void {
    const { beta1, beta2, eps } = this.#options;
    const gradient = parameter.grad as Tensor;
    if (low !== null) {
      const step = this.#step.item();
      if (kernels.adamwSplit(parameter, low, m, v, gradient, step, lr, beta1, beta2, eps, decay, scale))
        return;
    }
    const master = low === null ? parameter : joinMaster(parameter, low);
    const scaled = gradient.to("float32");
    if (scale < 1) scaled.mul_(scale);
    const options = { lr, beta1, beta2, eps, weight_decay: decay, amsgrad: false, maximize: false };
    ops._fused_adamw_([master], [scaled], [m], [v], [], [this.#step], options);
    if (low === null) return;
    const halves = splitMaster(master);
    parameter.copy_(halves.parameter);
    low.copy_(halves.low);
  }

  /** Returns the tensors of the optimiser's state by name, for a checkpoint. */
  state(): Map<string, Tensor> {
    const state = new Map([["step", this.#step]]);
    for (const [name, { low, m, v }] of this.#slots) {
      if (low) state.set(`low.${name}`, low);
      state.set(`m.${name}`, m);
      state.set(`v.${name}`, v);
    }
    return state;
  }

  /** Restores tensors that `state` returned. Does not restore the parameters. @throws Error when one is missing */
  load(saved: ReadonlyMap<string, Tensor>): void {
    noGrad(() => {
      for (const [name, tensor] of this.state()) {
        const from = saved.get(name);
        if (!from) throw new Error(`the optimiser's checkpoint has no "${name}"`);
        tensor.copy_(from);
      }
    });
  }

  dispose(): void {
    this.#step.dispose();
    for (const { low, m, v } of this.#slots.values()) for (const tensor of [m, v, low]) tensor?.dispose();
  }
}
