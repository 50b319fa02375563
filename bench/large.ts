// npm run bench:large: one PPO step with adapters on a random llama of 1.1 billion weights (TinyLlama's sizes): what it
// takes in time and memory.
import { Command } from "commander";
import { llama } from "../src/models/llama.ts";
import { Model } from "../src/models/model.ts";
import type { Bits } from "../src/nn/quantise.ts";
import { PpoTrainer } from "../src/ppo/trainer.ts";
import { Generator, keep, noGrad, ops, scope } from "../src/tensor/index.ts";

const { bits } = new Command("bench:large")
  .option("--bits <n>", "round the frozen weights to 8 bits or 4", Number)
  .parse()
  .opts<{ bits?: Bits }>();

const json = {
  model_type: "llama",
  ...{ vocab_size: 32_000, hidden_size: 2048, intermediate_size: 5632, num_hidden_layers: 22 },
  ...{ num_attention_heads: 32, num_key_value_heads: 4, max_position_embeddings: 2048, rms_norm_eps: 1e-5 },
};
const generator = new Generator(0);
const weights = noGrad(
  () =>
    new Map(
      [...llama.shapes(llama.schema.parse(json)), ["lm_head.weight", [32_000, 2048]] as const].map(
        ([name, shape]) => [
          name,
          scope(() => {
            const made = ops.empty([...shape], { dtype: "bfloat16" });
            return keep(name.includes("norm") ? made.fill_(1) : ops.normal_(made, { std: 0.02, generator }));
          }),
        ],
      ),
    ),
);
const policy = new Model(json, weights, "lm", undefined);
const count = [...weights.values()].reduce((sum, { numel }) => sum + numel, 0);
if (bits) policy.quantise(bits);

const trainer = new PpoTrainer({
  ...{ policy, critic: "shared", lora: { rank: 16 }, learningRate: 1e-4 },
  ...{ maxTokens: 64, ppoEpochs: 4, miniBatchSize: 2 },
});
const prompts = Array.from({ length: 8 }, (_, i) => Array.from({ length: 35 }, (_, t) => 3 + i * 100 + t));
for (let step = 1; step <= 2; step++) {
  const began = performance.now();
  const { queries, responses, finished, logprobs } = await trainer.generate(prompts);
  const sampled = performance.now();
  const scores = responses.map((ids) => ids.filter((id) => id % 2).length / ids.length);
  const { metrics } = await trainer.step(queries, responses, scores, { finished, logprobs });
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
