import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { capabilities, type DType, keep, noGrad, scope, type Tensor } from "../tensor/index.ts";
import { readTokenizer } from "../text/tokenizer.ts";
import type { Head, Json } from "./architecture.ts";
import { parseModelConfig } from "./architectures.ts";
import { readGguf } from "./files/gguf.ts";
import { modelFromGguf } from "./files/gguf-model.ts";
import { readCheckpoint } from "./files/safetensors.ts";
import { Model } from "./model.ts";

/** bfloat16 where the CPU computes faster in it, else float32: models open on the CPU, whatever else the machine has. */
const fastDtype = (): DType => (capabilities().fastBf16 ? "bfloat16" : "float32");

/** The weights an architecture expects, taken from a checkpoint's, each checked for its shape. */
function selectWeights(
  json: Json,
  found: Map<string, Tensor>,
  where: string,
): { weights: Map<string, Tensor>; head: Head } {
  const { architecture, config } = parseModelConfig(json);
  const { hidden, vocab, tied } = architecture.dimensions(config);
  const head: Head = found.has("score.weight") ? "score" : "lm";
  const wanted = architecture.shapes(config);
  if (head === "score") {
    wanted.set("score.weight", [1, hidden]);
    if (found.has("score.bias")) wanted.set("score.bias", [1]);
  } else if (!tied) wanted.set("lm_head.weight", [vocab, hidden]);
  const weights = new Map<string, Tensor>();
  for (const [name, shape] of wanted) {
    // Base models on the Hub leave the prefix out.
    const weight = found.get(name) ?? found.get(name.slice(architecture.prefix.length));
    if (!weight) throw new InputError(`${where}: the checkpoint has no weight "${name}"`);
    if (weight.shape.join() !== shape.join())
      throw new InputError(
        `${where}: "${name}" has the shape (${weight.shape.join(", ")}), config.json says (${shape.join(", ")})`,
      );
    weights.set(name, weight);
  }
  return { weights, head };
}

/**
 * Opens a model from a folder in Hugging Face layout or from a GGUF file.
 * @param dtype what to compute in; by default bfloat16 where the machine is fast at it
 * @throws InputError when it is not a model, or one we cannot run
 */
export function openModel(path: string, options: { dtype?: DType } = {}): Model {
  if (!existsSync(path)) throw new InputError(`${path}: no such file or folder`);
  const dtype = options.dtype ?? fastDtype();
  return noGrad(() =>
    scope(() => {
      const source = statSync(path).isDirectory() ? readFolder(path) : modelFromGguf(readGguf(path), path);
      const { weights, head } = selectWeights(source.json, source.weights, path);
      for (const [name, weight] of weights) weights.set(name, keep(weight.to(dtype)));
      return new Model(source.json, weights, head, source.tokenizer);
    }),
  );
}

function readFolder(path: string) {
  const configPath = join(path, "config.json");
  if (!existsSync(configPath)) throw new InputError(`${path}: not a model: it has no config.json`);
  let json: Json;
  try {
    json = JSON.parse(readFileSync(configPath, "utf8"));
  } catch (error) {
    throw new InputError(`${configPath}: not JSON: ${(error as Error).message}`);
  }
  parseModelConfig(json); // before the weights: a model we cannot run is better told so
  return { json, weights: readCheckpoint(path), tokenizer: readTokenizer(path) };
}
