import { readComparisons } from "../src/data/readers.ts";
import type { Message } from "../src/data/records.ts";
import { encodeExample, encodePrompt } from "../src/text/chat.ts";
import type { Tokenizer } from "../src/text/tokenizer.ts";
import { here, nodeScript, python } from "./process.ts";

export interface Pair {
  prompt: Message[];
  chosen: string;
  rejected: string;
}

/** Input of both sides of a comparison. */
export interface Input {
  /** Model in Hugging Face layout, bfloat16; `gguf`: the same weights as a GGUF file. */
  model: string;
  gguf: string;
  prompts: number[][];
  pairs: Pair[];
  maxTokens: number;
  batchSize: number;
  /** Number of timed steps. */
  steps: number;
  /** Settings of plumbline's side only. */
  settings: Record<string, unknown>;
  /** Settings of the peer's side only. */
  peer: string;
}

export interface Comparison {
  job: string;
  peer: string;
  setting: string;
  unit: "tokens/s" | "s/step";
  input: Partial<Input>;
  /** Type of the GGUF file's weights, for peers that read it. */
  ggufType?: string;
  /** Command and first arguments of the peer's process; the input file is the last argument. */
  theirs: () => [string, ...string[]];
}

/** Makes prompts of exactly this many tokens, from the ends of longer ones. */
export function promptsOf(
  text: Tokenizer,
  pairs: readonly Pair[],
  count: number,
  tokens: number,
): number[][] {
  const long = pairs.map(({ prompt }) => encodePrompt(text, prompt)).filter((ids) => ids.length >= tokens);
  return long.slice(0, count).map((ids) => ids.slice(-tokens));
}

/** Selects the pairs whose sequences have at most `maxTokens` tokens, so that neither side truncates. */
export async function readPairs(path: string, text: Tokenizer, maxTokens: number): Promise<Pair[]> {
  const fits = (prompt: Message[], completion: string) => {
    const row = encodeExample(text, prompt, completion);
    return row.promptTokens.length + row.tokens.length <= maxTokens;
  };
  return (await readComparisons(path)).records
    .filter(({ ranks }) => ranks[0] !== ranks[1])
    .map(({ prompt, completions: [a = "", b = ""], ranks: [rankA = 0, rankB = 0] }) =>
      rankA < rankB ? { prompt, chosen: a, rejected: b } : { prompt, chosen: b, rejected: a },
    )
    .filter(({ prompt, chosen, rejected }) => fits(prompt, chosen) && fits(prompt, rejected));
}

/** Makes examples of exactly `tokens` tokens, by joining and cutting completions. */
export function fullRows(text: Tokenizer, pairs: readonly Pair[], count: number, tokens: number): Pair[] {
  const prompt: Message[] = [{ role: "user", content: "Go on." }];
  const all = text.encode(pairs.map(({ chosen }) => chosen).join("\n"));
  const room = tokens - encodePrompt(text, prompt).length - 1;
  const rows: Pair[] = [];
  for (let start = 0; rows.length < count && start + room <= all.length; start += room) {
    const chosen = text.decode(all.slice(start, start + room));
    const { promptTokens: before, tokens: response } = encodeExample(text, prompt, chosen);
    // A cut within a word or a character may not come back as the same tokens.
    if (before.length + response.length === tokens) rows.push({ prompt, chosen, rejected: "" });
  }
  return rows;
}

const peer = (environment: string, script: string) => () =>
  [python(environment), here(`peers/${script}.py`)] as [string, ...string[]];
const trl = (script: string) => peer("trl-1.16", script);
const oldTrl = peer("trl-0.11", "ppo");

const rollout = (batch: number, dtype: PeerType): Comparison[] => [
  {
    job: "rollout",
    peer: "transformers",
    setting: `batch ${batch}, ${dtype}`,
    unit: "tokens/s",
    input: { batchSize: batch, maxTokens: 64, peer: dtype },
    theirs: trl("generate"),
  },
  ...["Q4_1", "Q8_0", "BF16"].map(
    (ggufType): Comparison => ({
      job: "rollout",
      peer: "node-llama-cpp",
      setting: `batch ${batch}, ${ggufType}`,
      unit: "tokens/s",
      input: { batchSize: batch, maxTokens: 64 },
      ggufType,
      theirs: () => [process.execPath, nodeScript("node-llama-cpp")],
    }),
  ),
];

/** With `lora`, plumbline trains adapters while the peer trains all weights: that line compares memory. */
const ppo = (setting: string, critic: string, lora?: Record<string, never>): Comparison => ({
  job: "ppo",
  peer: "TRL 0.11.4",
  unit: "s/step",
  setting: `${setting}; critic ${critic}${lora ? "; adapters" : ""}`,
  input: { batchSize: 8, maxTokens: 64, steps: 2, settings: { critic, lora }, peer: setting },
  theirs: oldTrl,
});

/** Type that a peer computes in. */
export type PeerType = "bf16" | "float32";

/** Names of the jobs. */
export const jobs = ["rollout", "sft", "reward", "dpo", "ppo"];

/** Comparisons with peers that compute in the type that is faster for libtorch on this machine. */
export const comparisonsIn = (dtype: PeerType): Comparison[] => [
  ...rollout(8, dtype),
  ...rollout(32, dtype),
  ...(dtype === "bf16"
    ? ["bf16 weights", "bf16 autocast", "bf16 weights, packing"]
    : ["float32", "float32, packing"]
  ).map(
    (setting): Comparison => ({
      job: "sft",
      peer: "TRL 1.16",
      setting,
      unit: "tokens/s",
      input: { batchSize: 8, peer: setting },
      theirs: trl("sft"),
    }),
  ),
  {
    job: "sft",
    peer: "transformers loop",
    setting: `rows of 256 tokens, ${dtype}`,
    unit: "tokens/s",
    input: { batchSize: 4, peer: `rows, ${dtype}`, settings: { trainOnPrompt: true } },
    theirs: trl("loop"),
  },
  ...(dtype === "bf16" ? ["bf16 weights", "bf16 autocast"] : ["float32"]).map(
    (setting): Comparison => ({
      job: "reward",
      peer: "TRL 1.16",
      setting,
      unit: "tokens/s",
      input: { batchSize: 8, peer: setting },
      theirs: trl("reward"),
    }),
  ),
  // In float32, so that rounding does not hide differences between the loss curves.
  ...(dtype === "bf16" ? ["bf16 weights", "bf16 autocast", "float32"] : ["float32"]).map(
    (setting): Comparison => ({
      job: "dpo",
      peer: "TRL 1.16",
      setting,
      unit: "tokens/s",
      input: { batchSize: 8, peer: setting, settings: setting === "float32" ? { dtype: "float32" } : {} },
      theirs: trl("dpo"),
    }),
  ),
  ppo("textbook", "shared"),
  ppo(`batched, ${dtype}`, "shared"),
  ppo(`batched, ${dtype}`, "separate"),
  ppo(`batched, ${dtype}`, "shared", {}),
];
