// node-llama-cpp on the CPU, the prompts as sequences of one context. Usage: node-llama-cpp.mjs INPUT.json
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { getLlama } from "node-llama-cpp";

const { gguf, prompts, maxTokens } = JSON.parse(readFileSync(process.argv[2], "utf8"));
// Its own choice may be more threads than there are cores to run on, which then wait for each other.
const threads = availableParallelism();
const llama = await getLlama({ gpu: false, logLevel: "error", maxThreads: threads });
const model = await llama.loadModel({ modelPath: gguf });
const context = await model.createContext({
  sequences: prompts.length,
  contextSize: prompts[0].length + maxTokens + 1,
  batchSize: 512,
  threads,
});

async function sample(sequence, prompt, count) {
  let made = 0;
  const options = { temperature: 0.9, topK: 0, topP: 1, minP: 0, yieldEogToken: true };
  for await (const _ of sequence.evaluate(prompt, options)) if (++made === count) break;
  return made;
}
const sequences = prompts.map(() => context.getSequence());
const all = async (count) => {
  const made = await Promise.all(prompts.map((prompt, i) => sample(sequences[i], prompt, count)));
  return made.reduce((a, b) => a + b);
};

await all(4);
for (const sequence of sequences) await sequence.clearHistory();
const began = performance.now();
const tokens = await all(maxTokens);
const seconds = (performance.now() - began) / 1000;
console.log(JSON.stringify({ tokens, seconds, gb: (process.resourceUsage().maxRSS * 1024) / 1e9 }));
process.exit(0);
