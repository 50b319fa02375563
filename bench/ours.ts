// Plumbline's side of a comparison: `ours.ts JOB INPUT.json` does the job once in a separate process, and prints its time and memory.
import { readFileSync } from "node:fs";
import { shuffled } from "../src/data/split.ts";
import { peakFlops } from "../src/eval/cost.ts";
import type { Model } from "../src/models/model.ts";
import { loadModel } from "../src/models/pull.ts";
import { generate } from "../src/rollout/generate.ts";
import type { Metrics } from "../src/run/events.ts";
import type { Training } from "../src/run/training.ts";
import { dpo } from "../src/stages/dpo/train.ts";
import { PpoTrainer } from "../src/stages/ppo/trainer.ts";
import { reward } from "../src/stages/reward/train.ts";
import { sft } from "../src/stages/sft/train.ts";
import { encodeExample } from "../src/text/chat.ts";
import type { Input, Pair } from "./jobs.ts";
import type { Measured } from "./process.ts";

const [job = "", file = ""] = process.argv.slice(2);
const input = JSON.parse(readFileSync(file, "utf8")) as Input;
const model = await loadModel(input.model);

const timed = async (work: () => unknown): Promise<number> => {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
};

/** Measures the seconds from the first step of a training to its last, without loading. */
async function trained(training: Training<unknown>, onStep?: (metrics: Metrics) => void): Promise<number> {
  let began = 0;
  for await (const event of training) {
    if (event.type === "start") began = performance.now();
    if (event.type === "step") onStep?.(event.metrics);
  }
  return (performance.now() - began) / 1000;
}

interface Lengths {
  prompt: number;
  response: number;
}

const lengthOf = ({ prompt }: Pair, completion: string): Lengths => {
  const row = encodeExample(model.text, prompt, completion);
  return { prompt: row.promptTokens.length, response: row.tokens.length };
};

/** Folder of the model, for jobs that load it themselves, so that a second copy does not count as their memory. */
function released(): string {
  model.dispose();
  return input.model;
}

const total = (sequences: readonly Lengths[]) =>
  sequences.reduce((sum, { prompt, response }) => sum + prompt + response, 0);

/**
 * Counts the floating-point operations of training on these sequences: 6 per weight and token, where the weights after
 * the last block's attention and the vocabulary head count only tokens in the loss, and for attention
 * 12 · heads · width · (pairs of tokens that attend to each other) per layer.
 */
function trainingFlops(model: Model, sequences: readonly Lengths[]) {
  const { hidden, vocab, layers, heads, headDim } = model.dimensions;
  let weights = 0;
  let learnedOnly = hidden * vocab;
  const behind = new RegExp(`layers\\.${layers - 1}\\.(self_attn\\.o_proj|mlp)`);
  for (const [name, tensor] of model.parameters)
    if (tensor.shape.length === 2 && !/embed|lm_head|wte|wpe|score/.test(name)) {
      if (behind.test(name)) learnedOnly += tensor.numel;
      else weights += tensor.numel;
    }
  return sequences.reduce((sum, { prompt, response }) => {
    const tokens = prompt + response;
    const pairs = (tokens * (tokens + 1)) / 2;
    return sum + 6 * weights * tokens + 6 * learnedOnly * response + 12 * layers * heads * headDim * pairs;
  }, 0);
}

const jobs: Record<string, () => Promise<Omit<Measured, "gb">>> = {
  async rollout() {
    const sample = (maxTokens: number) =>
      generate(model, input.prompts, { temperature: 0.9, maxTokens, minTokens: maxTokens, seed: 1 });
    await sample(4);
    return {
      seconds: await timed(() => sample(input.maxTokens)),
      tokens: input.prompts.length * input.maxTokens,
    };
  },

  async sft() {
    const { pairs, batchSize } = input;
    const data = pairs.map(({ prompt, chosen }) => ({ prompt, completion: chosen }));
    const sequences = pairs.map((pair) => lengthOf(pair, pair.chosen));
    const flops = trainingFlops(model, sequences);
    const peak = peakFlops();
    const seconds = await trained(
      sft({
        model: released(),
        data,
        epochs: 1,
        batchSize,
        heldOut: 0,
        learningRate: 1e-5,
        maxLength: 100_000,
        ...input.settings,
      }),
    );
    return {
      seconds,
      tokens: total(sequences),
      ...(peak === undefined ? {} : { mfu: flops / seconds / peak }),
    };
  },

  async reward() {
    const { pairs, batchSize } = input;
    const data = pairs.map(({ prompt, chosen, rejected }) => ({
      prompt,
      completions: [chosen, rejected],
      ranks: [0, 1],
    }));
    const sequences = pairs.flatMap((pair) => [lengthOf(pair, pair.chosen), lengthOf(pair, pair.rejected)]);
    const seconds = await trained(
      reward({
        model: released(),
        data,
        epochs: 1,
        batchSize,
        heldOut: 0,
        normaliseSamples: 0,
        learningRate: 1e-5,
        maxLength: 100_000,
        ...input.settings,
      }),
    );
    return { seconds, tokens: total(sequences) };
  },

  async dpo() {
    const { pairs, batchSize } = input;
    // Arranged so that the epoch visits the pairs in their order.
    const order = shuffled(pairs.length, 0);
    const data = pairs.map((_, i) => {
      const { prompt, chosen, rejected } = pairs[order.indexOf(i)] as Pair;
      return { prompt, completions: [chosen, rejected], ranks: [0, 1] };
    });
    const sequences = pairs.flatMap((pair) => [lengthOf(pair, pair.chosen), lengthOf(pair, pair.rejected)]);
    const training = dpo({
      model: released(),
      data,
      epochs: 1,
      batchSize,
      heldOut: 0,
      schedule: "constant",
      warmupRatio: 0,
      learningRate: 1e-5,
      maxLength: 100_000,
      ...input.settings,
    });
    const losses: number[] = [];
    const seconds = await trained(training, ({ loss }) => losses.push(loss as number));
    return { seconds, tokens: total(sequences), losses };
  },

  async ppo() {
    const { prompts, maxTokens } = input;
    const trainer = new PpoTrainer({
      policy: model,
      maxTokens,
      minTokens: maxTokens,
      ppoEpochs: 4,
      miniBatchSize: 2,
      learningRate: 1e-5,
      ...input.settings,
    });
    const step = async () => {
      const completions = await trainer.sample(prompts);
      await trainer.step(
        completions.map((completion) => ({ ...completion, score: scoreOf(completion.text) })),
      );
    };
    await step();
    let seconds = 0;
    for (let i = 0; i < input.steps; i++) seconds += (await timed(step)) / input.steps;
    return { seconds, tokens: prompts.reduce((sum, ids) => sum + ids.length + maxTokens, 0) };
  },
};

/** Reward: share of the letter e in the text, as in peers/ppo.py. */
const scoreOf = (text: string) => (text.match(/e/g)?.length ?? 0) / Math.max(1, text.length);

const done = await (jobs[job] as () => Promise<Omit<Measured, "gb">>)();
console.log(JSON.stringify({ ...done, gb: (process.resourceUsage().maxRSS * 1024) / 1e9 }));
process.exit(0);
