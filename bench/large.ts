// npm run bench:large: measures the time and memory of a PPO step with adapters on a random
// llama of 1.1 billion weights (TinyLlama's sizes).
import { Command } from "commander";
import type { Bits } from "../src/nn/quantise.ts";
import { PpoTrainer } from "../src/stages/ppo/trainer.ts";
import { randomLlama, weightsOf } from "./random-llama.ts";

const { bits } = new Command("bench:large")
  .option("--bits <n>", "round the frozen weights to 8 bits or 4", Number)
  .parse()
  .opts<{ bits?: Bits }>();

const policy = randomLlama("1.1B");
const count = weightsOf(policy);
if (bits) policy.quantise(bits);

const trainer = new PpoTrainer({
  policy,
  critic: "shared",
  lora: { rank: 16 },
  learningRate: 1e-4,
  maxTokens: 64,
  ppoEpochs: 4,
  miniBatchSize: 2,
});
const prompts = Array.from({ length: 8 }, (_, i) => Array.from({ length: 35 }, (_, t) => 3 + i * 100 + t));
for (let step = 1; step <= 2; step++) {
  const began = performance.now();
  const completions = await trainer.sample(prompts);
  const sampled = performance.now();
  const scoreOf = (ids: readonly number[]) => ids.filter((id) => id % 2).length / ids.length;
  const { metrics } = await trainer.step(
    completions.map((completion) => ({ ...completion, score: scoreOf(completion.tokens) })),
  );
  const seconds = (from: number, to: number) => ((to - from) / 1000).toFixed(1);
  console.log(
    `step ${step}: sampling ${seconds(began, sampled)} s, learning ${seconds(sampled, performance.now())} s, policy loss ${metrics["loss/policy_avg"]?.toFixed(4)}`,
  );
}
const gb = (process.resourceUsage().maxRSS * 1024) / 1e9;
console.log(
  `${(count / 1e9).toFixed(2)} billion weights${bits ? ` in ${bits} bits` : ""}: ${gb.toFixed(1)} GB at most`,
);
process.exit(0);
