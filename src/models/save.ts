import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import type { Adapter } from "../nn/lora.ts";
import type { LoraConfig } from "../nn/lora-config.ts";
import { type DType, keep, noGrad, scope, type Tensor } from "../tensor/index.ts";
import { scoringTemplate } from "../text/scoring-template.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type AdapterSet, adapterTensors, headTensors } from "./adapters.ts";
import type { Architecture, Head, Json } from "./architecture.ts";
import { copyWeights, readSafetensors, type StoredTensor, writeSafetensors } from "./files/safetensors.ts";

/** What plumbline stores of a model beyond transformers' settings: the `plumbline` entry of config.json. */
export interface Provenance {
  /** Name of the stage that trained the weights; undefined for a model from elsewhere. */
  stage: string | undefined;
  /** Constant added to the scores of a scalar head. */
  scoreShift: number;
}

/** Reads the `plumbline` entry of config.json. */
export function readProvenance(json: Json): Provenance {
  const { stage, score_shift = 0 } = (json.plumbline ?? {}) as { stage?: string; score_shift?: number };
  return { stage, scoreShift: Number(score_shift) };
}

/** What `saveModel` reads of a model beside its tensors. */
export interface SavedModel extends Provenance {
  /** config.json as it was read. */
  json: Json;
  head: Head;
  dtype: DType;
  tokenizer: Tokenizer | undefined;
}

/** Weights of a model to save. */
export interface SavedWeights {
  /** Returns all weights by their Hugging Face names, with adapters merged into them. */
  toStore(): ReadonlyMap<string, StoredTensor>;
  /** Adapters, those trained last at the end. */
  sets: readonly AdapterSet[];
  /** Returns a weight, or null. */
  find(name: string): Tensor | null;
}

type Layout = Pick<Architecture<unknown>, "classNames" | "transposed">;

/** Saves a model in Hugging Face layout, and its adapters in PEFT's: those trained last in `adapter/`. */
export function saveModel(folder: string, model: SavedModel, layout: Layout, weights: SavedWeights): void {
  mkdirSync(folder, { recursive: true });
  const { sets } = weights;
  const mergedAdapters = sets.map((_, i) =>
    i === sets.length - 1 ? "adapter" : `earlier-adapters/${i + 1}`,
  );
  for (const [i, set] of sets.entries()) {
    const isLast = i === sets.length - 1;
    const path = join(folder, mergedAdapters[i] as string);
    mkdirSync(path, { recursive: true });
    const head = isLast ? headTensors(weights) : [];
    writeSafetensors(join(path, adapterFile), new Map([...adapterTensors(set), ...head]));
    writeJson(join(path, adapterConfigFile), adapterConfig(set.config, isLast ? model.head : "lm", layout));
  }
  noGrad(() => scope(() => writeSafetensors(join(folder, "model.safetensors"), weights.toStore())));
  const { tokenizer } = model;
  const padding = tokenizer && paddingToken(model, tokenizer);
  if (tokenizer) saveTokenizer(folder, tokenizer, model.head, padding);
  writeJson(join(folder, "config.json"), modelConfig(model, layout, mergedAdapters, padding));
}

const adapterFile = "adapter_model.safetensors";
const adapterConfigFile = "adapter_config.json";

/** Makes config.json for the model in its present state. */
function modelConfig(
  { json, head, dtype, tokenizer, stage, scoreShift }: SavedModel,
  { classNames }: Layout,
  mergedAdapters: readonly string[],
  padding: string | null | undefined,
): Json {
  // transformers 5 writes `dtype`, which would come before the `torch_dtype` that all versions read.
  const { plumbline: _, dtype: __, ...rest } = json;
  const config: Json = {
    ...rest,
    architectures: [classNames[String(json.model_type)]?.[head]],
    torch_dtype: mergedAdapters.length ? "float32" : dtype,
  };
  if (head === "score") {
    config.num_labels = 1;
    config.id2label = { 0: "score" };
    config.label2id = { score: 0 };
  }
  const provenance = {
    ...(stage !== undefined && { stage }),
    ...(scoreShift && { score_shift: scoreShift }),
    ...(mergedAdapters.length && { merged_adapters: mergedAdapters }),
  };
  if (Object.keys(provenance).length) config.plumbline = provenance;
  if (tokenizer) {
    if (padding !== undefined) config.pad_token_id = padding === null ? null : tokenizer.id(padding);
    config.eos_token_id = tokenizer.eos;
  }
  return config;
}

/**
 * Chooses the padding token to save with a model. transformers reads a sequence's score at the last token that is not the
 * padding token, so for a scalar head it must not be a token that ends an answer, as many tokenizers have it.
 * @returns null if the vocabulary has no such token: transformers then scores sequences one at a time, at the last token.
 * Undefined for a language model whose tokenizer has none
 */
function paddingToken(
  { head, json }: Pick<SavedModel, "head" | "json">,
  tokenizer: Tokenizer,
): string | null | undefined {
  const declared = tokenizer.special("pad_token");
  if (head === "lm") return declared || undefined;
  const isSafe = (text: string) => {
    const id = tokenizer.id(text);
    return id !== undefined && id < Number(json.vocab_size) && !tokenizer.stopIds.includes(id);
  };
  const added = [...tokenizer.addedTokens.values()];
  // Later tokens of a vocabulary are seldom those of conversations.
  const candidates = [
    declared,
    ...added.filter((text) => /pad/i.test(text)),
    tokenizer.special("unk_token"),
    ...added.reverse(),
  ];
  return candidates.find(isSafe) ?? null;
}

function saveTokenizer(
  folder: string,
  tokenizer: Tokenizer,
  head: Head,
  padding: string | null | undefined,
): void {
  const { files, hasChatTemplate, stopIds } = tokenizer;
  const scoring = head === "score" ? scoringTemplate(tokenizer) : undefined;
  const chatTemplates = { ...tokenizer.chatTemplates, ...(scoring !== undefined && { default: scoring }) };
  const { chat_template: _, ...rest } = files.config;
  const isDeclared = (padding ?? "") === tokenizer.special("pad_token");
  const config = isDeclared ? rest : { ...rest, pad_token: padding };
  const templates = Object.entries(chatTemplates).map(([name, template]) => ({ name, template }));
  const only = templates.length === 1 && chatTemplates.default;
  writeJson(join(folder, "tokenizer.json"), files.tokenizer, 0);
  writeJson(
    join(folder, "tokenizer_config.json"),
    hasChatTemplate ? { ...config, chat_template: only || templates } : config,
  );
  // So that transformers and vLLM end a response where we do.
  writeJson(join(folder, "generation_config.json"), { ...files.generation, eos_token_id: stopIds });
}

const adapterConfig = ({ rank, alpha, targets }: LoraConfig, head: Head, { transposed }: Layout): Json => ({
  peft_type: "LORA",
  task_type: head === "lm" ? "CAUSAL_LM" : "SEQ_CLS",
  r: rank,
  lora_alpha: alpha,
  target_modules: targets,
  lora_dropout: 0,
  bias: "none",
  modules_to_save: head === "lm" ? null : ["score"],
  fan_in_fan_out: transposed,
  inference_mode: true,
  base_model_name_or_path: null,
});

const adapterConfigSchema = z.object({
  r: z.int().positive(),
  lora_alpha: z.number().positive(),
  target_modules: z.array(z.string()),
});

/** Reads adapters in PEFT's layout, converted to `dtype`. @throws InputError when the folder holds none or is damaged */
function readAdapters(folder: string, dtype: DType): AdapterSet {
  const path = join(folder, adapterConfigFile);
  const { data } = adapterConfigSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
  if (!data) throw new InputError(`${path}: lacks r, lora_alpha or target_modules`);
  const { r: rank, lora_alpha: alpha, target_modules: targets } = data;
  const tensors = readSafetensors(join(folder, adapterFile));
  const adapters = new Map<string, Adapter>();
  for (const [name, a] of tensors) {
    const [, stem] = /^base_model\.model\.(.*)\.lora_A\.weight$/.exec(name) ?? [];
    const b = tensors.get(name.replace("lora_A", "lora_B"));
    if (stem && b) adapters.set(stem, { a: keep(a.to(dtype)), b: keep(b.to(dtype)), scale: alpha / rank });
  }
  return { config: { rank, alpha, targets }, adapters };
}

const adapterFolders = z.object({
  merged_adapters: z.array(z.string().regex(/^(adapter|earlier-adapters\/\d+)$/)),
});

/**
 * Reads the adapters that were merged into the weights of a model's folder, to part them again. None where their folders
 * were removed.
 * @param json the folder's config.json
 */
export function readMergedAdapters(folder: string, json: Json, dtype: DType): AdapterSet[] {
  const names = adapterFolders.safeParse(json.plumbline).data?.merged_adapters ?? [];
  const folders = names.map((name) => join(folder, name));
  return folders.every((path) => existsSync(path)) ? folders.map((path) => readAdapters(path, dtype)) : [];
}

/** Loads adapters that `saveModel` wrote into `learned`. @throws InputError when their names or shapes differ */
export function restoreAdapters(folder: string, learned: ReadonlyMap<string, Tensor>): Provenance {
  const path = join(folder, "adapter", adapterFile);
  copyWeights(learned, readSafetensors(path), path, "other lora settings?");
  return readProvenance(JSON.parse(readFileSync(join(folder, "config.json"), "utf8")));
}

function writeJson(path: string, json: unknown, indent = 2): void {
  writeFileSync(`${path}.tmp`, JSON.stringify(json, null, indent));
  renameSync(`${path}.tmp`, path);
}
