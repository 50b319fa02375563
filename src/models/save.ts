import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { LoraConfig } from "../nn/lora-config.ts";
import { type DType, noGrad, scope, type Tensor } from "../tensor/index.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Architecture, Head, Json } from "./architecture.ts";
import { copyWeights, readSafetensors, writeSafetensors } from "./files/safetensors.ts";

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

/** Tensors of a model to save. */
export interface SavedWeights {
  /** Returns all weights by their Hugging Face names, with adapters merged into them. */
  merged(): ReadonlyMap<string, Tensor>;
  /** Settings of the adapters; undefined for a model without adapters. */
  config: LoraConfig | undefined;
  /** Tensors of the adapters and a scalar head by PEFT's names. */
  learned: ReadonlyMap<string, Tensor>;
}

type Layout = Pick<Architecture<unknown>, "classNames" | "transposed">;

/** Saves a model in Hugging Face layout, and its adapters in `adapter/` in PEFT's. */
export function saveModel(folder: string, model: SavedModel, layout: Layout, weights: SavedWeights): void {
  mkdirSync(folder, { recursive: true });
  const { config, learned } = weights;
  if (config) {
    mkdirSync(join(folder, "adapter"), { recursive: true });
    writeSafetensors(join(folder, adapterFile), learned);
    writeJson(join(folder, "adapter", "adapter_config.json"), adapterConfig(config, model.head, layout));
  }
  noGrad(() => scope(() => writeSafetensors(join(folder, "model.safetensors"), weights.merged())));
  if (model.tokenizer) saveTokenizer(folder, model.tokenizer);
  writeJson(join(folder, "config.json"), modelConfig(model, layout));
}

const adapterFile = join("adapter", "adapter_model.safetensors");

/** Makes config.json for the model in its present state. */
function modelConfig(
  { json, head, dtype, tokenizer, stage, scoreShift }: SavedModel,
  { classNames }: Layout,
): Json {
  const { plumbline: _, ...rest } = json;
  const config: Json = {
    ...rest,
    architectures: [classNames[String(json.model_type)]?.[head]],
    torch_dtype: dtype,
  };
  if (head === "score") {
    config.num_labels = 1;
    config.id2label = { 0: "score" };
    config.label2id = { score: 0 };
  }
  if (stage !== undefined || scoreShift)
    config.plumbline = {
      ...(stage !== undefined && { stage }),
      ...(scoreShift && { score_shift: scoreShift }),
    };
  if (tokenizer) {
    const pad = tokenizer.special("pad_token");
    if (pad) config.pad_token_id = tokenizer.id(pad);
    config.eos_token_id = tokenizer.eos;
  }
  return config;
}

function saveTokenizer(folder: string, { files, chatTemplates, hasChatTemplate, stopIds }: Tokenizer): void {
  const { chat_template: _, ...config } = files.config;
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

/** Loads adapters that `saveModel` wrote into `learned`. @throws InputError when their names or shapes differ */
export function restoreAdapters(folder: string, learned: ReadonlyMap<string, Tensor>): Provenance {
  const path = join(folder, adapterFile);
  copyWeights(learned, readSafetensors(path), path, "other lora settings?");
  return readProvenance(JSON.parse(readFileSync(join(folder, "config.json"), "utf8")));
}

function writeJson(path: string, json: unknown, indent = 2): void {
  writeFileSync(`${path}.tmp`, JSON.stringify(json, null, indent));
  renameSync(`${path}.tmp`, path);
}
