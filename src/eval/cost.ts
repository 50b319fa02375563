import { pack } from "../batch/pack.ts";
import { logprobsOf } from "../math/index.ts";
import type { Model } from "../models/model.ts";
import { linear } from "../nn/linear.ts";
import { generate } from "../rollout/generate.ts";
import { mean } from "../statistics/numbers.ts";
import {
  capabilities,
  type DType,
  keep,
  ops,
  peakRates,
  scope,
  type Tensor,
  tensor,
  threads,
} from "../tensor/index.ts";

/** Measures the fastest of several runs, in seconds: the one that other processes disturbed least. */
export async function fastestSeconds(work: () => unknown, times = 3): Promise<number> {
  let fastest = Infinity;
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    await work();
    fastest = Math.min(fastest, (performance.now() - start) / 1000);
  }
  return fastest;
}

/** Returns the peak floating-point operations per second of the CPU's threads, in our kernels' instructions; undefined without kernels. */
export function peakFlops(): number | undefined {
  const { cpu } = capabilities();
  const rate = peakRates()[cpu];
  return rate && rate * 1e9 * threads();
}

/** A pass of a linear layer, and its floating-point operations per second. */
export interface ProductRate {
  pass: "forward" | "gradient of the input" | "gradient of the weight";
  rows: number;
  inputs: number;
  outputs: number;
  /** Of plumbline in bfloat16, and of libtorch's operators. */
  ours: number;
  float32: number;
  bfloat16: number;
}

/** Measures linear layers of a small model's size: with few rows as in sampling, and with many as in training. */
export async function productRates(): Promise<ProductRate[]> {
  const [inputs, outputs] = [576, 1536];
  const rates: ProductRate[] = [];
  const add = async (pass: ProductRate["pass"], rows: number) => {
    const measure = (dtype: DType, apply: typeof linear) =>
      productRate(pass, [rows, inputs, outputs], dtype, apply);
    rates.push({
      ...{ pass, rows, inputs, outputs },
      ours: await measure("bfloat16", linear),
      float32: await measure("float32", (x, weight) => ops.linear(x, weight)),
      bfloat16: await measure("bfloat16", (x, weight) => ops.linear(x, weight)),
    });
  };
  for (const rows of [1, 8, 32, 1024]) await add("forward", rows);
  await add("gradient of the input", 1024);
  await add("gradient of the weight", 1024);
  return rates;
}

async function productRate(
  pass: ProductRate["pass"],
  [rows, inputs, outputs]: [number, number, number],
  dtype: DType,
  apply: typeof linear,
): Promise<number> {
  // Together larger than the caches, so that weights are read from memory as in a model.
  const count = 24;
  const [x, gradient, ...weights] = scope(() =>
    keep([
      ops.randn([rows, inputs]).to(dtype),
      ops.randn([rows, outputs]).to(dtype),
      ...Array.from({ length: count }, () => ops.randn([outputs, inputs]).to(dtype)),
    ]),
  ) as [Tensor, Tensor, ...Tensor[]];
  x.requiresGrad = pass === "gradient of the input";
  for (const weight of weights) weight.requiresGrad = pass === "gradient of the weight";
  let fastest = Infinity;
  for (let round = 0; round < 5; round++)
    scope(() => {
      let began = performance.now();
      const results = weights.map((weight) => apply(x, weight));
      if (pass !== "forward") {
        began = performance.now();
        for (const y of results) y.backward(gradient);
      }
      fastest = Math.min(fastest, (performance.now() - began) / 1000);
      for (const input of [x, ...weights]) input.grad = null;
    });
  for (const tensor of [x, gradient, ...weights]) tensor.dispose();
  return (2 * count * rows * inputs * outputs) / fastest;
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
