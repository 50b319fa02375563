// npm run check:interop: saves SmolLM2 as a language model, with adapters and as a reward model, in float32 and bfloat16,
// opens the folders in transformers and PEFT with their default settings, and prints their losses and scores beside ours.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { here, python } from "../bench/process.ts";
import { scoreAll, tokenLogprobs } from "../src/batch/score.ts";
import type { Demonstration, Message } from "../src/data/records.ts";
import type { Model } from "../src/models/model.ts";
import { openModel } from "../src/models/open.ts";
import { reward } from "../src/stages/reward/train.ts";
import { sft } from "../src/stages/sft/train.ts";
import { mean } from "../src/statistics/numbers.ts";
import type { DType } from "../src/tensor/index.ts";
import { encodeAnswer, renderChat } from "../src/text/chat.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { fetchSmolLm2 } from "./setup.mjs";

/** A folder to open elsewhere, as open_saved.py reads it, with what we compute. */
interface Case {
  name: string;
  kind: "score" | "loss" | "adapter" | "gguf";
  folder: string;
  /** Model that the adapter was trained on. */
  base?: string;
  /** Name of the GGUF file in the folder. */
  file?: string;
  /** Our loss or score of each conversation, by the precision that the folder is opened in. */
  values: Partial<Record<string, number[]>>;
  ids: number[][];
}

/** Our losses or scores in one precision, and the token ids. */
interface Measured {
  values: number[];
  ids: number[][];
}

interface Opened {
  values: number[];
  batch?: number[];
  ids: number[][];
  dtype: string;
}

/** Largest difference in float32, relative to values of at least 1: sums of 30 layers in another order give 1e-5. */
const tolerance = 1e-3;

const readDemonstration = (line: string): Demonstration => JSON.parse(line);
const records = readFileSync(here("../data/instructions/demonstrations.jsonl"), "utf8")
  .trim()
  .split("\n")
  .map(readDemonstration);
const held = records.slice(-8);
const learned = records.slice(0, 64);
const conversations = held.map(({ prompt, completion }): Message[] => [
  ...prompt,
  { role: "assistant", content: String(completion) },
]);

const folder = mkdtempSync(join(tmpdir(), "interop-"));
try {
  const gguf = await fetchSmolLm2();
  const cases = [ggufCase(gguf)];
  for (const dtype of ["float32", "bfloat16"] as const) cases.push(...(await casesIn(dtype, gguf)));
  process.exitCode = print(cases, openElsewhere(cases)) ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true });
}

/** Mean negative log-likelihood of each conversation's tokens but the first, as the chat template writes it. */
function losses(model: Model): Measured {
  const ids = conversations.map((messages) => model.text.encode(renderChat(model.text, messages)));
  const rows = ids.map(([first, ...tokens]) => ({ promptTokens: [first as number], tokens }));
  return { ids, values: tokenLogprobs(model, rows).map((logprobs) => -mean(logprobs)) };
}

/** Score of each conversation without the constant that heads in transformers do not have, and the tokens scored. */
function scores(model: Model): Measured {
  const rows = held.map(({ prompt, completion }) => encodeAnswer(model.text, prompt, String(completion)));
  return {
    ids: rows.map(({ promptTokens, tokens }) => [...promptTokens, ...tokens]),
    values: scoreAll(model, rows).map((score) => score - model.scoreShift),
  };
}

/** Opens a folder in both precisions and computes `measure`. */
function openHere(path: string, measure: (model: Model) => Measured): Pick<Case, "values" | "ids"> {
  const [float32, bfloat16] = (["float32", "bfloat16"] as const).map((dtype) => {
    const model = openModel(path, { dtype });
    const measured = measure(model);
    model.dispose();
    return measured;
  }) as [Measured, Measured];
  return { ids: float32.ids, values: { float32: float32.values, bfloat16: bfloat16.values } };
}

function ggufCase(path: string): Case {
  return {
    name: "GGUF, Q4_1",
    kind: "gguf",
    folder: dirname(path),
    file: basename(path),
    ...openHere(path, losses),
  };
}

/** Trains and saves models in a precision. */
async function casesIn(dtype: DType, gguf: string): Promise<Case[]> {
  const at = (name: string) => join(folder, `${name}-${dtype}`);
  const base = openModel(gguf, { dtype });
  const { files } = base.text;
  // As on the Hub: the padding token is the end token.
  base.tokenizer = new Tokenizer({
    ...files,
    config: { ...files.config, pad_token: files.config.eos_token },
  });
  base.save(at("base"));
  const cases: Case[] = [
    { name: `language model, ${dtype}`, kind: "loss", folder: at("base"), ...openHere(at("base"), losses) },
  ];

  const settings = { batchSize: 8, heldOut: 0, warmupRatio: 0 };
  const lora = { rank: 16 };
  const { model: adapted } = await sft({
    model: base,
    data: learned,
    lora,
    learningRate: 2e-4,
    maxSteps: 8,
    ...settings,
  }).done();
  adapted.save(at("adapters"));
  const opened = openHere(at("adapters"), losses);
  console.log(
    `${dtype}: loss ${mean(losses(base).values).toFixed(4)} before training adapters, ${mean(losses(adapted).values).toFixed(4)} after; ` +
      `opened again ${Object.entries(opened.values)
        .map(([name, values]) => `${mean(values ?? []).toFixed(4)} in ${name}`)
        .join(", ")}`,
  );
  adapted.dispose();
  cases.push({ name: `adapters merged, ${dtype}`, kind: "loss", folder: at("adapters"), ...opened });
  cases.push({
    name: `adapters by PEFT, ${dtype}`,
    kind: "adapter",
    folder: join(at("adapters"), "adapter"),
    base: at("base"),
    ...opened,
  });

  const data = learned.map(({ prompt, completion }, i) => ({
    prompt: [...prompt],
    completions: [String(completion), String(learned[(i + 1) % learned.length]?.completion)],
    ranks: [0, 1],
  }));
  for (const [name, more] of [
    ["reward model", { learningRate: 2e-5 }],
    ["reward model by adapters", { learningRate: 2e-4, lora }],
  ] as const) {
    const { model } = await reward({
      model: base,
      data,
      maxSteps: 2,
      normaliseSamples: 8,
      sampleTokens: 16,
      ...settings,
      ...more,
    }).done();
    const path = at(name.replaceAll(" ", "-"));
    model.save(path);
    model.dispose();
    cases.push({ name: `${name}, ${dtype}`, kind: "score", folder: path, ...openHere(path, scores) });
  }
  base.dispose();
  return cases;
}

function openElsewhere(cases: readonly Case[]): Record<string, Opened> {
  const request = join(folder, "request.json");
  writeFileSync(request, JSON.stringify({ conversations, cases }));
  const environment = python("golden", here("../test/golden/requirements.txt"));
  const { status, stdout, stderr } = spawnSync(
    environment,
    [here("../test/interop/open_saved.py"), request],
    {
      encoding: "utf8",
      maxBuffer: 1e8,
      env: { ...process.env, HF_HUB_OFFLINE: "1" },
    },
  );
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** Largest difference of two lists, relative to values of at least 1. */
function largest(values: readonly number[], others: readonly number[]): number {
  return Math.max(
    ...values.map((value, i) => Math.abs(value - (others[i] as number)) / Math.max(1, Math.abs(value))),
  );
}

/**
 * Prints the largest differences of each case from ours in the precision that it was opened in, and between our two
 * precisions: two ways to round to bfloat16 differ by about as much.
 * @returns whether rounding explains them all
 */
function print(cases: readonly Case[], opened: Record<string, Opened>): boolean {
  let isWithin = true;
  console.log(
    "| saved | opened in | tokens | ours, mean | difference | in a padded batch | ours, bfloat16 from float32 |",
  );
  console.log("|---|---|---|---|---|---|---|");
  for (const { name, values, ids } of cases) {
    const theirs = opened[name] as Opened;
    const ours = values[theirs.dtype] as number[];
    const rounding = largest(values.float32 as number[], values.bfloat16 as number[]);
    const differences = [theirs.values, ...(theirs.batch ? [theirs.batch] : [])].map((others) =>
      largest(ours, others),
    );
    const isSame = JSON.stringify(ids) === JSON.stringify(theirs.ids);
    const limit = theirs.dtype === "float32" ? tolerance : 3 * rounding;
    isWithin &&= isSame && differences.every((difference) => difference <= limit);
    const [alone, batch = ""] = differences.map((difference) => difference.toExponential(1));
    console.log(
      `| ${name} | ${theirs.dtype} | ${isSame ? "the same" : "differ"} | ${mean(ours).toFixed(4)} | ${alone} | ${batch} | ${rounding.toExponential(1)} |`,
    );
  }
  return isWithin;
}
