import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { AdamW } from "../nn/adamw.ts";
import { noGrad, scope } from "../tensor/index.ts";
import { readSafetensors, writeSafetensors } from "./safetensors.ts";

/** Writes what a trainer needs to go on besides its models: the optimisers' tensors and its own state as JSON. */
export function saveTraining(dir: string, optimizers: Record<string, AdamW>, state: unknown): void {
  for (const [name, optimizer] of Object.entries(optimizers))
    writeSafetensors(join(dir, `${name}.optimizer.safetensors`), optimizer.state());
  writeFileSync(join(dir, "state.json"), JSON.stringify(state));
}

export function loadOptimizer(dir: string, name: string, optimizer: AdamW): void {
  noGrad(() => scope(() => optimizer.load(readSafetensors(join(dir, `${name}.optimizer.safetensors`)))));
}
