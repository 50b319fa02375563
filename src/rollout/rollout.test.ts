import { describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { scoreAll } from "../batch/score.ts";
import { logprobsOf } from "../math/index.ts";
import type { Dimensions } from "../models/architecture.ts";
import {
  capabilities,
  type DType,
  memory,
  noGrad,
  operator,
  ops,
  Rng,
  scope,
  type Tensor,
  tensor,
} from "../tensor/index.ts";
import { KvCache } from "./cache.ts";
import { decode, generate } from "./generate.ts";
import { type Completion, isFinished } from "./sampler.ts";
import { filterLogits, sampleTokens, sampleTokensUnfused } from "./sampling.ts";

const softmax = (logits: readonly number[], temperature: number) => {
  const weights = logits.map((v) => Math.exp(v / temperature));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((w) => w / total);
};

describe("sampling", () => {
  const logits = [2, 1, 0, -1, 0.5, -20];

  it.each([1, 0.7, 2])("samples from softmax(logits / %f), and returns the log-probs", (temperature) => {
    scope(() => {
      const n = 40_000;
      const rows = tensor(logits).unsqueeze(0).expand(n, logits.length);
      const { tokens, logprobs } = sampleTokens(rows, temperature, new Rng(3));
      const expected = softmax(logits, temperature);
      const counts = logits.map(() => 0);
      const [ids, lps] = [tokens.toArray(), logprobs.toArray()];
      ids.forEach((id, i) => {
        counts[id] = (counts[id] as number) + 1;
        expect(lps[i]).toBeCloseTo(Math.log(expected[id] as number), 5);
      });
      // Five standard errors of a binomial count: fails by chance once in two million.
      for (const [id, p] of expected.entries())
        expect(Math.abs((counts[id] as number) / n - p)).toBeLessThan(
          5 * Math.sqrt((p * (1 - p)) / n) + 1e-9,
        );
    });
  });

  it("can sample every token of a vocabulary that is not a multiple of its chunk", () => {
    scope(() => {
      const vocab = 700;
      const { tokens } = sampleTokens(
        tensor(new Array(vocab).fill(0)).unsqueeze(0).expand(30_000, vocab),
        1,
        new Rng(0),
      );
      const seen = new Set(tokens.toArray());
      // 30,000 draws miss a given one of 700 with probability e^-43.
      expect(seen.size).toBe(vocab);
      expect(Math.max(...seen)).toBe(vocab - 1);
    });
  });

  it.each(["bfloat16", "float32"] as const)("the kernel equals the plain draw on %s logits", (dtype) => {
    scope(() => {
      const generator = new Rng(4);
      const logits = ops.randn([64, 1000], { generator }).mul(4).to(dtype);
      logits.narrow(1, 0, 20).fill_(-Infinity);
      const uniforms = ops.rand([64, 1], { generator, dtype: "float64" });
      uniforms.narrow(0, 0, 1).fill_(0);
      uniforms.narrow(0, 1, 1).fill_(1 - 2 ** -53);
      const temperatures = ops.rand([64, 1], { generator }).add(0.5);
      const [tokens, logprobs] = operator("plumbline::draw")(logits, uniforms, temperatures) as [
        Tensor,
        Tensor,
      ];
      const [expectedTokens, expectedLogprobs] = sampleTokensUnfused(logits, uniforms, temperatures);
      // Sums in float32 may put a place that is within 1e-6 of a border on its other side: here none is.
      expect(tokens.toArray()).toEqual(expectedTokens.toArray());
      expect(Math.min(...tokens.toArray())).toBeGreaterThanOrEqual(20);
      expect(logprobs.sub(expectedLogprobs).abs().max().item()).toBeLessThan(1e-5);
      // What training makes of the same logits: no ratio but 1.
      const [same, drawn] = operator("plumbline::draw")(logits, uniforms, tensor([0.9])) as [Tensor, Tensor];
      expect(drawn.toArray()).toEqual(logprobsOf(logits, same, 0.9).toArray());
    });
  });

  it("top-k and top-p leave the most likely tokens, whose probabilities sum to 1", () => {
    scope(() => {
      const row = tensor(logits).unsqueeze(0);
      const p = (options: { topK?: number; topP?: number }) =>
        filterLogits(row, { temperature: 1, ...options })
          .softmax(-1)
          .toArray();
      const all = softmax(logits, 1);
      const left = (values: number[]) => values.flatMap((value, i) => (value > 0 ? [i] : []));
      expect(left(p({ topK: 2 }))).toEqual([0, 1]);
      expect(left(p({ topK: 100 }))).toHaveLength(logits.length);
      // 0.575 + 0.211 = 0.787 < 0.8, so the third (index 4) is in.
      expect(left(p({ topP: 0.8 }))).toEqual([0, 1, 4]);
      expect(left(p({ topP: 0.01 }))).toEqual([0]);
      const kept = [0, 1, 4].reduce((sum, i) => sum + (all[i] as number), 0);
      expect(p({ topP: 0.8 })[4]).toBeCloseTo((all[4] as number) / kept, 6);
    });
  });

  it("temperature 0 takes the most likely token", () => {
    scope(() => {
      const { tokens } = sampleTokens(tensor([0, 3, 1]).unsqueeze(0), 0, new Rng(0));
      expect(tokens.toArray()).toEqual([1]);
    });
  });
});

describe("generation", () => {
  const model = tinyModel(1);
  const prompts = ["a", "a longer prompt", "b"].map((text) => model.text.encode(text));
  const eos = model.text.eos;

  it("gives the same completions for the same seed, and others for another seed", async () => {
    const sample = (seed: number) => generate(model, prompts, { maxTokens: 8, seed, samples: 3 });
    const [a, b, c] = [await sample(1), await sample(1), await sample(2)];
    expect(a).toEqual(b);
    expect(a.map(({ tokens }) => tokens)).not.toEqual(c.map(({ tokens }) => tokens));
    expect(a.map(({ promptIndex }) => promptIndex)).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2]);
    expect(new Set(a.map(({ tokens }) => tokens.join())).size).toBe(9);
  });

  it("frees a generator that it created, also on failure, but not the caller's", async () => {
    const before = memory().generators;
    await generate(model, prompts, { maxTokens: 2 });
    await expect(generate(model, prompts, { maxTokens: 2, temperature: [1, 2] })).rejects.toThrow();
    await expect(generate(model, prompts, { maxTokens: 2, signal: AbortSignal.abort() })).rejects.toThrow();
    expect(memory().generators).toBe(before);
    const generator = new Rng(1);
    await generate(model, prompts, { maxTokens: 2, rng: generator });
    expect(memory().generators).toBe(before + 1);
    generator.dispose();
  });

  it("ends at a stop token, which is not in the text, and at maxTokens", async () => {
    const responses = await generate(model, prompts, { maxTokens: 60, seed: 0, samples: 20 });
    for (const { tokens, finishReason, text, logprobs, mask } of responses) {
      expect(tokens.length).toBeLessThanOrEqual(60);
      expect(logprobs).toHaveLength(tokens.length);
      expect(mask).toEqual(tokens.map(() => 1));
      expect(finishReason).toBe(tokens.at(-1) === eos ? "stop" : "length");
      expect(tokens.slice(0, -1)).not.toContain(eos);
      expect(text).not.toContain("<|im_end|>");
    }
    expect(responses.some(isFinished)).toBe(true);
    expect(responses.every(isFinished)).toBe(false);
  });

  it("samples no stop token before minTokens", async () => {
    const responses = await generate(model, prompts, { maxTokens: 60, minTokens: 30, seed: 0, samples: 20 });
    expect(Math.min(...responses.map(({ tokens }) => tokens.length))).toBeGreaterThanOrEqual(30);
  });

  it("ends at a stop text, cut from the text", async () => {
    const free = await generate(model, prompts, { maxTokens: 40, seed: 5, stopIds: [] });
    const whole = free[0]?.text as string;
    const stop = /[!-~]{2}/.exec(whole)?.[0] as string; // bytes at random are seldom text
    const [cut] = await generate(model, prompts, { maxTokens: 40, seed: 5, stopIds: [], stop: [stop] });
    expect(cut?.finishReason).toBe("stop");
    expect(cut?.text).toBe(whole.slice(0, whole.indexOf(stop)));
  });

  it("starts waiting prompts as responses end, with the same completions as alone", async () => {
    const many = Array.from({ length: 9 }, (_, i) => model.text.encode(`${"x".repeat(20 - 2 * i)} ${i}`));
    const options = { temperature: 0, maxTokens: 24, stopIds: [7, 20, 33, 50, 81, 120, 200] };
    let most = 0;
    let steps = 0;
    const completions = new Set<Completion>();
    for (const rows of decode(model, many, { ...options, batchSize: 4 })) {
      for (const row of rows) completions.add(row);
      most = Math.max(most, rows.length);
      steps++;
    }
    expect([...completions].map(({ promptIndex }) => promptIndex)).toEqual(many.map((_, i) => i));
    expect(most).toBeLessThanOrEqual(4);
    const alone = [];
    for (const prompt of many) alone.push(...(await generate(model, [prompt], options)));
    expect([...completions].map(({ tokens }) => tokens)).toEqual(alone.map(({ tokens }) => tokens));
    // Three batches one after the other take as many steps as their longest responses together.
    const lengths = alone.map(({ tokens }) => tokens.length);
    const inTurn = [0, 4, 8].reduce((sum, at) => sum + Math.max(...lengths.slice(at, at + 4)), 0);
    expect(steps).toBeLessThan(inTurn);
  });

  it("streams the tokens of each prompt separately", () => {
    let grown = 0;
    for (const rows of decode(model, prompts, { maxTokens: 5, seed: 0, stopIds: [] })) {
      grown++;
      expect(rows.map(({ promptIndex }) => promptIndex)).toEqual([0, 1, 2]);
      expect(rows.every(({ tokens }) => tokens.length === grown)).toBe(true);
    }
    expect(grown).toBe(5);
  });

  it("ends a response at the end of the context, whatever the others have left, and returns nothing for no prompts", async () => {
    const [short, long] = [2, 250].map((n) => new Array<number>(n).fill(65)) as [number[], number[]];
    const rows = await generate(model, [short, long], { maxTokens: 30, seed: 0, stopIds: [] });
    expect(rows.map(({ tokens }) => tokens.length)).toEqual([30, 6]);
    expect(await generate(model, [], { maxTokens: 4 })).toEqual([]);
  });

  it("refuses a prompt longer than the context", async () => {
    const long = [new Array(256).fill(1)];
    await expect(generate(model, long, { maxTokens: 4 })).rejects.toThrow(/256 tokens/);
  });

  it("stops when its signal is aborted", async () => {
    const signal = AbortSignal.abort();
    await expect(generate(model, prompts, { maxTokens: 50, signal })).rejects.toThrow(/abort/i);
  });
});

describe("scores", () => {
  it("are the same one by one and in a batch, whatever the order", () => {
    const rewardModel = tinyModel(2).withScoreHead({ std: 1 });
    const rows = [3, 9, 1, 30, 4].map((n) => ({
      promptTokens: Array.from({ length: 5 }, (_, i) => 10 + i),
      tokens: Array.from({ length: n }, (_, i) => (i * 7 + n) % 256),
    }));
    const together = scoreAll(rewardModel, rows);
    rows.forEach((row, i) => expect(scoreAll(rewardModel, [row])[0]).toBeCloseTo(together[i] as number, 4));
    expect(scoreAll(rewardModel, [...rows].reverse())).toEqual(
      [...together].reverse().map((value) => expect.closeTo(value, 4)),
    );
    expect(scoreAll(rewardModel, [])).toEqual([]);
  });
});

describe("attention of a decoding step", () => {
  // The kernels' oracle is libtorch's attention, which the cache calls for float64. 4e-3: a rounding to bfloat16 or two.
  it.each([
    { dtype: "bfloat16", headDim: 64, tolerance: 4e-3 },
    { dtype: "bfloat16", headDim: 128, tolerance: 4e-3 },
    { dtype: "bfloat16", headDim: 24, tolerance: 4e-3 },
    { dtype: "float32", headDim: 64, tolerance: 1e-6 },
  ] as const)("in $dtype with heads of $headDim equals libtorch's", ({ dtype, headDim, tolerance }) => {
    const [heads, kvHeads, lengths] = [6, 2, [1, 40, 17]];
    for (const window of [Number.POSITIVE_INFINITY, 9]) {
      scope(() => {
        const generator = new Rng(1);
        const random = (tokens: number, heads: number) =>
          ops.randn([tokens, heads, headDim], { generator }).to(dtype);
        const total = lengths.reduce((a, b) => a + b);
        const prompt = [heads, kvHeads, kvHeads].map((heads) => random(total, heads));
        const steps = [1, 2].map(() =>
          [heads, kvHeads, kvHeads].map((heads) => random(lengths.length, heads)),
        );
        const attended = (as: DType): Tensor[] => {
          const dimensions = { layers: 1, heads, kvHeads, headDim, window } as Dimensions;
          const cache = new KvCache({ dimensions, dtype: as, device: "cpu" }, lengths.length, 50);
          const [q, k, v] = prompt.map((x) => x.to(as)) as [Tensor, Tensor, Tensor];
          cache.prefill({ lengths })(0, q, k, v);
          const outputs = steps.map((step) => {
            const [q, k, v] = step.map((x) => x.to(as)) as [Tensor, Tensor, Tensor];
            return cache.step()(0, q, k, v).to("float64");
          });
          cache.dispose();
          return outputs;
        };
        const exact = attended("float64");
        for (const [i, x] of attended(dtype).entries()) {
          const oracle = exact[i] as Tensor;
          const off = ops.linalg_vector_norm(x.sub(oracle)).item() / ops.linalg_vector_norm(oracle).item();
          expect(off).toBeLessThan(tolerance);
        }
      });
    }
  });
});

describe.skipIf(!capabilities().fastBf16)(
  "a decoding step by one call for each block (no kernels: skipped)",
  () => {
    it.each([1, 8, 9, 33])("has the bits of the step by operators, with %i rows", (rows) => {
      const model = tinyModel(3, { hidden_size: 64, head_dim: 16, num_attention_heads: 6 }, "bfloat16");
      noGrad(() =>
        scope(() => {
          const lengths = Array.from({ length: rows }, (_, row) => 1 + ((row * 7) % 70));
          const total = lengths.reduce((sum, length) => sum + length, 0);
          const int64 = (values: number[]) => tensor(values, { dtype: "int64" });
          const prompts = {
            ids: int64(Array.from({ length: total }, (_, i) => (i * 31) % 261)),
            positions: int64(lengths.flatMap((length) => Array.from({ length }, (_, i) => i))),
            lengths,
          };
          const states = (byOperators: boolean) => {
            const cache = new KvCache(model, rows, 80);
            model.hidden(prompts, cache.prefill(prompts));
            const steps = [5, 70, 200].map((id) => {
              const batch = {
                ids: int64(lengths.map((_, row) => (id + row) % 261)),
                positions: int64(cache.lengths),
                lengths: lengths.map(() => 1),
              };
              const step = cache.step();
              expect(step.cache).toBeDefined();
              return model.hidden(batch, byOperators ? (...args) => step(...args) : step).toArray();
            });
            cache.dispose();
            return steps;
          };
          expect(states(false)).toEqual(states(true));
        }),
      );
      model.dispose();
    });
  },
);
