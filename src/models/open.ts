import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { capabilities, type DType, keep, noGrad, scope, type Tensor } from "../tensor/index.ts";
import { readTokenizer } from "../text/tokenizer.ts";
import { type AdapterSet, unmerge } from "./adapters.ts";
import type { Head, Json } from "./architecture.ts";
import { parseModelConfig } from "./architectures.ts";
import { readGguf } from "./files/gguf.ts";
import { modelFromGguf } from "./files/gguf-model.ts";
import { readCheckpoint } from "./files/safetensors.ts";
import { Model } from "./model.ts";
import { readMergedAdapters } from "./save.ts";
import { readDistribution } from "./training-distribution.ts";

/** Precisions that models are computed in; float64 is for checks by finite differences. */
const computeDtypes: readonly DType[] = ["float32", "bfloat16", "float64"];

/** Default precision: bfloat16 where the CPU is fast at it, else float32. Models are opened on the CPU. */
const fastDtype = (): DType => (capabilities().fastBf16 ? "bfloat16" : "float32");

/**
 * Selects the weights of the architecture from those of a checkpoint, and checks their shapes.
 * @param path of the checkpoint, for errors
 * @throws InputError when a weight is missing or has another shape
 */
function selectWeights(
  json: Json,
  saved: Map<string, Tensor>,
  path: string,
): { weights: Map<string, Tensor>; head: Head } {
  const { architecture, config } = parseModelConfig(json);
  const { hidden, vocab, tied } = architecture.dimensions(config);
  const head: Head = saved.has("score.weight") ? "score" : "lm";
  const shapes = architecture.shapes(config);
  if (head === "score") {
    shapes.set("score.weight", [1, hidden]);
    if (saved.has("score.bias")) shapes.set("score.bias", [1]);
  } else if (!tied) shapes.set("lm_head.weight", [vocab, hidden]);
  const weights = new Map<string, Tensor>();
  for (const [name, shape] of shapes) {
    // Base models on the Hub leave the prefix out.
    const weight = saved.get(name) ?? saved.get(name.slice(architecture.prefix.length));
    if (!weight) throw new InputError(`${path}: the checkpoint has no weight "${name}"`);
    if (weight.shape.join() !== shape.join())
      throw new InputError(
        `${path}: "${name}" has the shape (${weight.shape.join(", ")}), config.json says (${shape.join(", ")})`,
      );
    weights.set(name, weight);
  }
  return { weights, head };
}

/**
 * Opens a model from a folder in Hugging Face layout or from a GGUF file.
 * @param dtype precision to compute in. Default: bfloat16 where the CPU is fast at it, else float32
 * @throws InputError when there is no model at `path`, it is damaged, or its architecture or `dtype` is not supported
 */
export function openModel(path: string, options: { dtype?: DType } = {}): Model {
  if (!existsSync(path)) throw new InputError(`${path}: no such file or folder`);
  const dtype = options.dtype ?? fastDtype();
  if (!computeDtypes.includes(dtype))
    throw new InputError(
      `dtype: models are not computed in ${dtype}, only in float32 or bfloat16 (a float16 checkpoint is converted)`,
    );
  return noGrad(() =>
    scope(() => {
      const source = statSync(path).isDirectory() ? readFolder(path) : modelFromGguf(readGguf(path), path);
      const { weights, head } = selectWeights(source.json, source.weights, path);
      // In float32 nothing is lost by leaving adapters merged.
      const adapters = dtype === "bfloat16" ? readMergedAdapters(path, source.json, dtype) : [];
      const { transposed } = parseModelConfig(source.json).architecture;
      for (const [name, weight] of weights)
        weights.set(
          name,
          scope(() => keep(withoutAdapters(name, weight, adapters, transposed, path).to(dtype))),
        );
      const model = new Model(source.json, weights, head, source.tokenizer).addFrozenAdapters(adapters);
      model.distribution = head === "score" ? readDistribution(path) : undefined;
      return model;
    }),
  );
}

/** Subtracts adapters from a weight that they were merged into. @throws InputError when one has another shape */
const withoutAdapters = (
  name: string,
  merged: Tensor,
  sets: readonly AdapterSet[],
  transposed: boolean,
  path: string,
): Tensor =>
  sets.reduceRight((weight, { adapters }) => {
    const adapter = adapters.get(name.replace(/\.weight$/, ""));
    if (!adapter) return weight;
    const shape = [adapter.b.size(0), adapter.a.size(1)];
    if ((transposed ? shape.reverse() : shape).join() !== weight.shape.join())
      throw new InputError(`${path}: the adapter of "${name}" has another shape: was it replaced?`);
    return unmerge(weight, adapter, transposed);
  }, merged);

function readFolder(path: string) {
  const configPath = join(path, "config.json");
  if (!existsSync(configPath)) throw new InputError(`${path}: not a model: it has no config.json`);
  let json: Json;
  try {
    json = JSON.parse(readFileSync(configPath, "utf8"));
  } catch (error) {
    throw new InputError(`${configPath}: not JSON: ${(error as Error).message}`);
  }
  parseModelConfig(json); // before the weights are read, so that an unsupported architecture is the error that is shown
  return { json, weights: readCheckpoint(path), tokenizer: readTokenizer(path) };
}
