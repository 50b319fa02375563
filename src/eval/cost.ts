import { pack } from "../batch/pack.ts";
import { logprobsOf } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import { generate } from "../rollout/generate.ts";
import { mean } from "../statistics/numbers.ts";
import { type DType, ops, scope, tensor } from "../tensor/index.ts";

/** Measures the fastest of several runs, in seconds: the one that other processes disturbed least. */
async function fastestSeconds(work: () => unknown, times = 3): Promise<number> {
  let fastest = Infinity;
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await work();
    fastest = Math.min(fastest, (performance.now() - start) / 1000);
  }
  return fastest;
}

/** Measures the floating-point operations per second of a large matrix product. */
export async function matmulPeak(dtype: DType, size = 2048): Promise<number> {
  const a = scope(() => ops.randn([size, size]).to(dtype));
  const seconds = await fastestSeconds(() => scope(() => void ops.matmul(a, a)), 10);
  a.dispose();
  return (2 * size ** 3) / seconds;
}

/** Measures the bytes per second that an addition to a large tensor reads and writes. */
export async function memoryRate(): Promise<number> {
  const bytes = 256e6;
  const x = scope(() => ops.ones([bytes / 4]));
  const seconds = await fastestSeconds(() => x.add_(1), 10);
  x.dispose();
  return (2 * bytes) / seconds;
}

/** Makes arbitrary token ids, the same at every call. */
export const makeTokenIds = (count: number, vocab: number): number[] =>
  Array.from({ length: count }, (_, i) => 1 + ((i * 7919) % (vocab - 1)));

/** Measures the seconds of a forward and backward pass over `rows` sequences of `length` tokens. Gradients are discarded. */
export async function trainingCost(model: Model, rows: number, length: number): Promise<number> {
  const { vocab } = model.dimensions;
  const sequences = Array.from({ length: rows }, () => makeTokenIds(length, vocab));
  model.train();
  try {
    return await fastestSeconds(() =>
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

/** Measures the seconds to sample `length` tokens for each of `rows` prompts of 32 tokens. */
export async function samplingCost(model: Model, rows: number, length: number): Promise<number> {
  const prompts = Array.from({ length: rows }, () => makeTokenIds(32, model.dimensions.vocab));
  return fastestSeconds(
    () => generate(model, prompts, { maxTokens: length, minTokens: length, batchSize: rows }),
    2,
  );
}

/** Fits the exponent p of cost ∝ size^p by least squares of the logarithms: 1 for a cost proportional to the size. */
export function growthExponent(sizes: readonly number[], costs: readonly number[]): number {
  const [x, y] = [sizes.map(Math.log), costs.map(Math.log)];
  const [mx, my] = [mean(x), mean(y)];
  const sum = (f: (i: number) => number) => x.reduce((total, _, i) => total + f(i), 0);
  return (
    sum((i) => ((x[i] as number) - mx) * ((y[i] as number) - my)) / sum((i) => ((x[i] as number) - mx) ** 2)
  );
}
