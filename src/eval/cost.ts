import { pack } from "../batch/pack.ts";
import { logprobsOf } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import { generate } from "../rollout/generate.ts";
import { mean } from "../statistics/numbers.ts";
import { type DType, ops, scope, tensor } from "../tensor/index.ts";

/** The best of some runs, in seconds: what the machine can do when nothing else is in its way. */
async function best(work: () => unknown, times = 3): Promise<number> {
  let least = Infinity;
  for (let i = 0; i < times; i++) {
    const began = performance.now();
    await work();
    least = Math.min(least, (performance.now() - began) / 1000);
  }
  return least;
}

/** Floating-point operations a second of a large matrix product. */
export async function matmulPeak(dtype: DType, size = 2048): Promise<number> {
  const a = scope(() => ops.randn([size, size]).to(dtype));
  const seconds = await best(() => scope(() => void ops.matmul(a, a)), 10);
  a.dispose();
  return (2 * size ** 3) / seconds;
}

/** Bytes a second that an addition to a large tensor reads and writes. */
export async function memoryRate(): Promise<number> {
  const bytes = 256e6;
  const x = scope(() => ops.ones([bytes / 4]));
  const seconds = await best(() => x.add_(1), 10);
  x.dispose();
  return (2 * bytes) / seconds;
}

/** Made-up token ids of a text. */
export const someIds = (count: number, vocab: number): number[] =>
  Array.from({ length: count }, (_, i) => 1 + ((i * 7919) % (vocab - 1)));

/** Seconds of forward and backward over `rows` sequences of `length` tokens, all learned; gradients are thrown away. */
export async function trainingCost(model: Model, rows: number, length: number): Promise<number> {
  const { vocab } = model.dimensions;
  const sequences = Array.from({ length: rows }, () => someIds(length, vocab));
  model.train();
  try {
    return await best(() =>
      scope(() => {
        const batch = pack(sequences);
        const targets = tensor(sequences.flat(), { dtype: "int64" });
        logprobsOf(model.logits(model.hidden(batch)), targets)
          .mean()
          .backward();
        for (const weight of model.learned.values()) weight.grad = null;
      }),
    );
  } finally {
    for (const weight of model.learned.values()) weight.requiresGrad = false;
  }
}

/** Seconds to sample `length` tokens to each of `rows` prompts of 32 tokens. */
export async function samplingCost(model: Model, rows: number, length: number): Promise<number> {
  const prompts = Array.from({ length: rows }, () => someIds(32, model.dimensions.vocab));
  return best(() => generate(model, prompts, { maxTokens: length, minTokens: length, batchSize: rows }), 2);
}

/** The exponent p of cost ~ size^p that fits best: 1 where cost grows as the size does. */
export function slope(sizes: readonly number[], costs: readonly number[]): number {
  const [x, y] = [sizes.map(Math.log), costs.map(Math.log)];
  const [mx, my] = [mean(x), mean(y)];
  const over = (f: (i: number) => number) => x.reduce((sum, _, i) => sum + f(i), 0);
  return (
    over((i) => ((x[i] as number) - mx) * ((y[i] as number) - my)) / over((i) => ((x[i] as number) - mx) ** 2)
  );
}
