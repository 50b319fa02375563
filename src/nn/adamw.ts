import { keep, noGrad, ops, scope, type Tensor, tensor } from "../tensor/index.ts";

export interface AdamWOptions {
  betas?: readonly [number, number];
  eps?: number;
  /** Applied to matrices only: norms and biases are not decayed. */
  weightDecay?: number;
}

interface Slot {
  parameter: Tensor;
  /** float32 copy that is stepped, so that a rate of 1e-6 moves bfloat16 weights; the parameter itself in float32. */
  master: Tensor;
  m: Tensor;
  v: Tensor;
  decay: number;
}

/** Decoupled weight decay Adam (Loshchilov & Hutter 2019), with float32 masters for narrower parameters. */
export class AdamW {
  #slots: Map<string, Slot>;
  #step: Tensor;
  #options: { beta1: number; beta2: number; eps: number };

  constructor(parameters: ReadonlyMap<string, Tensor>, options: AdamWOptions = {}) {
    const [beta1, beta2] = options.betas ?? [0.9, 0.999];
    this.#options = { beta1, beta2, eps: options.eps ?? 1e-8 };
    this.#step = tensor([0], { shape: [] });
    this.#step.kept = true;
    this.#slots = new Map();
    for (const [name, parameter] of parameters) {
      const decay = parameter.shape.length > 1 ? (options.weightDecay ?? 0) : 0;
      const own = noGrad(() =>
        scope(() => {
          const master = parameter.dtype === "float32" ? parameter : parameter.detach().to("float32");
          return keep({ master, m: ops.zeros_like(master), v: ops.zeros_like(master) });
        }),
      );
      this.#slots.set(name, { parameter, ...own, decay });
    }
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
    const norms = slots.map(({ parameter }) =>
      ops.linalg_vector_norm(parameter.grad as Tensor, { dtype: "float32" }),
    );
    return norms.length ? ops.linalg_vector_norm(ops.stack(norms)).item() : 0;
  }

  #move({ parameter, master, m, v, decay }: Slot, lr: number, scale: number): void {
    const own = parameter.grad as Tensor;
    const gradient = own.dtype === "float32" ? own : own.to("float32");
    if (scale < 1) gradient.mul_(scale);
    ops._fused_adamw_([master], [gradient], [m], [v], [], [this.#step], {
      lr,
      ...this.#options,
      weight_decay: decay,
      amsgrad: false,
      maximize: false,
    });
    if (master !== parameter) parameter.copy_(master);
  }

  /** Every tensor of the optimiser's state, by name: what a checkpoint saves and `load` restores. */
  state(): Map<string, Tensor> {
    const state = new Map([["step", this.#step]]);
    for (const [name, { parameter, master, m, v }] of this.#slots) {
      if (master !== parameter) state.set(`master.${name}`, master);
      state.set(`m.${name}`, m);
      state.set(`v.${name}`, v);
    }
    return state;
  }

  load(saved: ReadonlyMap<string, Tensor>): void {
    noGrad(() => {
      for (const [name, own] of this.state()) {
        const from = saved.get(name);
        if (!from) throw new Error(`the optimiser's checkpoint has no "${name}"`);
        own.copy_(from);
      }
      for (const { parameter, master } of this.#slots.values())
        if (master !== parameter) parameter.copy_(master);
    });
  }

  dispose(): void {
    this.#step.dispose();
    for (const { parameter, master, m, v } of this.#slots.values())
      for (const own of [m, v, ...(master === parameter ? [] : [master])]) own.dispose();
  }
}
