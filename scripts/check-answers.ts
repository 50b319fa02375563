// npm run check:answers: trains SmolLM2 for a few steps on each of the templates in test/golden/templates, saves it, and
// compares its greedy answers with those that transformers' apply_chat_template and generate give from the saved folder.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { here, python } from "../bench/process.ts";
import type { Message } from "../src/data/records.ts";
import { loadModel, pullModel } from "../src/models/pull.ts";
import { generate } from "../src/rollout/generate.ts";
import { sft } from "../src/stages/sft/train.ts";
import { encodePrompt } from "../src/text/chat.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { tokenizerFor } from "../test/templates.ts";

const maxTokens = 24;
const user = (content: string): Message => ({ role: "user", content });
const prompts = ["What is the capital of France?", "Name a color.", "Count to five.", "Say hello."].map(
  (text) => [user(text)],
);
const data = [
  { prompt: [user("Name a fruit.")], completion: "Apple." },
  { prompt: [user("What is the capital of Italy?")], completion: "Rome." },
  { prompt: [user("Count to three.")], completion: "1, 2, 3." },
  { prompt: [user("Say good bye.")], completion: "Good bye!" },
];

const folder = mkdtempSync(join(tmpdir(), "answers-"));
let differing = 0;
try {
  const templates = here("../test/golden/templates");
  for (const file of readdirSync(templates).sort())
    await check(readFileSync(join(templates, file), "utf8"), file);
} finally {
  rmSync(folder, { recursive: true });
}
process.exitCode = differing ? 1 : 0;

/** Trains, saves and compares on one template. */
async function check(template: string, file: string): Promise<void> {
  const path = await pullModel("smollm2-135m-instruct");
  const base = await loadModel(path, { dtype: "float32" });
  // Tokens of the template that the model lacks have no embedding, so they stay text: only what it knows is added.
  const files = tokenizerFor(path, []);
  base.tokenizer = new Tokenizer(files, { default: template });
  const settings = { epochs: 12, batchSize: 4, learningRate: 1e-4, heldOut: 0, warmupRatio: 0 };
  const { model } = await sft({ model: base, data, ...settings }).done();
  const saved = join(folder, basename(file, ".jinja"));
  model.save(saved);
  const ours = await generate(
    model,
    prompts.map((prompt) => encodePrompt(model.text, prompt)),
    { temperature: 0, maxTokens },
  );
  const conversations = join(folder, "conversations.json");
  writeFileSync(conversations, JSON.stringify(prompts));
  const { status, stdout, stderr } = spawnSync(
    python("trl-1.16"),
    [here("../test/interop/answer.py"), saved, conversations, String(maxTokens)],
    { encoding: "utf8", env: { ...process.env, HF_HUB_OFFLINE: "1" } },
  );
  if (status !== 0) throw new Error(stderr);
  const theirs: { texts: string[]; ids: number[][] } = JSON.parse(stdout);
  const equal = ours.filter(({ tokens }, i) => tokens.join() === theirs.ids[i]?.join()).length;
  const ended = ours.filter(({ finishReason }) => finishReason === "stop").length;
  console.log(
    `${file}: ${equal} of ${prompts.length} answers equal in every token, ${ended} ended by a stop token`,
  );
  for (const [i, { text }] of ours.entries())
    console.log(
      `  ${JSON.stringify(text)}${text === theirs.texts[i] ? "" : `, transformers ${JSON.stringify(theirs.texts[i])}`}`,
    );
  if (equal < prompts.length) differing++;
  model.dispose();
  base.dispose();
}
