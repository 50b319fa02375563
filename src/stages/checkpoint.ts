import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { torchVersion } from "../../native/locate.mjs";
import { InputError } from "../data/errors.ts";
import { readSafetensors, writeSafetensors } from "../models/files/safetensors.ts";
import type { Model } from "../models/model.ts";
import { openModel } from "../models/open.ts";
import { restoreAdapters } from "../models/save.ts";
import type { AdamW } from "../nn/adamw.ts";
import type { LoraConfig } from "../nn/lora-config.ts";
import type { Bits } from "../nn/quantise.ts";
import { type DType, noGrad, scope, type Tensor } from "../tensor/index.ts";

/** Writes the optimisers' tensors, a file for each. */
export function saveOptimizers(dir: string, optimizers: Record<string, AdamW>): void {
  for (const [name, optimizer] of Object.entries(optimizers))
    writeSafetensors(join(dir, `${name}.optimizer.safetensors`), optimizer.state());
}

/** Writes a trainer's state as JSON. */
export function saveState(dir: string, state: unknown): void {
  writeFileSync(join(dir, "state.json"), JSON.stringify(state));
}

/** Loads an optimiser's tensors from a checkpoint. */
export function loadOptimizer(dir: string, name: string, optimizer: AdamW): void {
  noGrad(() => scope(() => optimizer.load(readSafetensors(join(dir, `${name}.optimizer.safetensors`)))));
}

/**
 * Quantises the frozen model under a stage's adapters. A model that the caller gave is copied first.
 * @param given what the caller gave as the model
 * @param bits bits a weight; undefined leaves the model as it is
 * @throws InputError without adapters, since quantised weights cannot learn
 */
export function quantisedBase(base: Model, given: unknown, bits: Bits | undefined, lora: unknown): Model {
  if (bits === undefined) return base;
  if (!lora)
    throw new InputError("quantise: quantised weights cannot learn: train adapters on them, with `lora: {}`");
  return (base === given ? base.clone() : base).quantise(bits);
}

/**
 * Opens the model that a stage trains: a fresh one, or the one of a checkpoint. With LoRA it shares the base's weights,
 * so the base must not be disposed before it.
 * @param options.from folder of the checkpoint
 */
export function openLearner(options: {
  fresh: (share: boolean) => Model;
  from: string | undefined;
  dtype: DType;
  lora: LoraConfig | undefined;
  seed: number;
}): Model {
  const { fresh, from, dtype, lora, seed } = options;
  const model = lora
    ? fresh(true).addLora(lora, from === undefined ? { seed } : { seed, from })
    : from === undefined
      ? fresh(false)
      : openModel(from, { dtype });
  // The template that it is trained on is saved with it.
  model.tokenizer = model.tokenizer?.withChatTemplate();
  return model;
}

/**
 * Takes over a checkpoint's weights, or its adapters where they are what learns.
 * @param dir folder of the checkpoint
 */
export function restoreWeights(model: Model, dir: string, lora: LoraConfig | undefined): void {
  if (lora) {
    restoreAdapters(dir, model.learned);
    return;
  }
  const saved = openModel(dir, { dtype: model.dtype });
  noGrad(() => {
    for (const [name, weight] of model.parameters) weight.copy_(saved.parameters.get(name) as Tensor);
  });
  saved.dispose();
}

/** Versions of what trains, for run.json. */
export function versions(): Record<string, string> {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return { plumbline: version, node: process.version, libtorch: torchVersion };
}
