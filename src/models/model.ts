import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import {
  capabilities,
  type DType,
  Generator,
  keep,
  noGrad,
  ops,
  scope,
  type Tensor,
  tensor,
} from "../tensor/index.ts";
import { readTokenizer, type Tokenizer } from "../text/tokenizer.ts";
import type { Architecture, Dimensions, Weights } from "./architecture.ts";
import { type Attend, type Batch, packedAttention } from "./attention.ts";
import { readGguf } from "./gguf.ts";
import { fromGguf } from "./gguf-model.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { readCheckpoint, writeSafetensors } from "./safetensors.ts";

// biome-ignore lint/suspicious/noExplicitAny: each architecture has a config of its own, which only it reads
const architectures: Record<string, Architecture<any>> = { llama, mistral: llama, gpt2 };

export type Head = "lm" | "score";
export type Json = Record<string, unknown>;

/** bfloat16 where this machine computes faster in it, else float32. */
export const fastDtype = (): DType =>
  capabilities().fastBf16 || capabilities().cuda ? "bfloat16" : "float32";

/**
 * A transformer with one head: "lm" gives vocabulary logits, "score" one number a token (a reward or a value).
 * Its weights live until `dispose()`.
 */
export class Model {
  /** config.json as it was read. */
  readonly json: Json;
  readonly head: Head;
  readonly dimensions: Dimensions;
  readonly tokenizer: Tokenizer | undefined;
  /** What `scores` adds: set by normalisation on reference samples. */
  scoreShift: number;
  #architecture: Architecture<unknown>;
  #config: unknown;
  #weights: Map<string, Tensor>;
  #lookup: Weights;

  constructor(json: Json, weights: Map<string, Tensor>, head: Head, tokenizer: Tokenizer | undefined) {
    const { architecture, config } = parseConfig(json);
    this.json = json;
    this.head = head;
    this.tokenizer = tokenizer;
    this.scoreShift = Number((json.plumbline as Json | undefined)?.score_shift ?? 0);
    this.#architecture = architecture;
    this.#config = config;
    this.#weights = keep(weights);
    this.dimensions = architecture.dimensions(config);
    this.#lookup = {
      find: (name) => weights.get(name) ?? null,
      get(name) {
        const found = weights.get(name);
        if (!found) throw new Error(`the model has no weight "${name}"`);
        return found;
      },
    };
  }

  get dtype(): DType {
    return this.#lookup.get(this.#architecture.embedding).dtype;
  }

  /** Every weight by its Hugging Face name. */
  get parameters(): ReadonlyMap<string, Tensor> {
    return this.#weights;
  }

  /** The tokenizer. @throws InputError when the model came without one */
  get text(): Tokenizer {
    if (!this.tokenizer) throw new InputError("this model has no tokenizer: its folder lacks tokenizer.json");
    return this.tokenizer;
  }

  /** Hidden states after the last norm, (tokens, hidden). Attention stays within each sequence unless given. */
  hidden(batch: Batch, attend: Attend = packedAttention(batch, this.dimensions.window)): Tensor {
    return this.#architecture.forward(this.#config, this.#lookup, batch.ids, batch.positions, attend);
  }

  /** Vocabulary logits of hidden states: (tokens, hidden) → (tokens, vocab). @throws InputError for a scalar head */
  logits(hidden: Tensor): Tensor {
    if (this.head !== "lm")
      throw new InputError("this model has a scalar head: it scores text and cannot write it");
    const head = this.#lookup.find("lm_head.weight") ?? this.#lookup.get(this.#architecture.embedding);
    return ops.linear(hidden, head);
  }

  /** The scalar head on hidden states, in float32: (tokens, hidden) → (tokens). */
  scores(hidden: Tensor): Tensor {
    const bias = this.#lookup.find("score.bias");
    // In bfloat16 a score of 3 would be rounded to 1/64.
    const raw = ops
      .linear(hidden.to("float32"), this.#lookup.get("score.weight").to("float32"), {
        bias: bias?.to("float32") ?? null,
      })
      .squeeze(-1);
    return this.scoreShift ? raw.add(this.scoreShift) : raw;
  }

  /** Rescales the head so that scores of this mean and deviation become 0 and 1. */
  normaliseScores(mean: number, std: number): void {
    if (!(std > 0)) throw new InputError(`scores cannot be normalised: their standard deviation is ${std}`);
    noGrad(() => scope(() => this.#lookup.get("score.weight").mul_(1 / std)));
    noGrad(() => scope(() => this.#lookup.find("score.bias")?.mul_(1 / std)));
    this.scoreShift = (this.scoreShift - mean) / std;
  }

  /** A copy whose weights share nothing with this one's. */
  clone(options: { dtype?: DType } = {}): Model {
    return new Model(this.json, this.#copy(options.dtype ?? this.dtype), this.head, this.tokenizer);
  }

  #copy(dtype: DType): Map<string, Tensor> {
    const copied = (from: Tensor) => scope(() => keep(ops.to(from.detach(), dtype, { copy: true })));
    return noGrad(() => new Map([...this.#weights].map(([name, from]) => [name, copied(from)])));
  }

  /**
   * A copy with a fresh scalar head in place of the head it has: weights from N(0, std²), or zeros; with a bias of 0
   * where `bias`.
   */
  withScoreHead(options: { std: number; seed?: number; bias?: boolean }): Model {
    return noGrad(() =>
      scope(() => {
        const weights = this.#copy(this.dtype);
        weights.get("lm_head.weight")?.dispose();
        weights.delete("lm_head.weight");
        const weight = ops.zeros([1, this.dimensions.hidden]);
        if (options.std)
          ops.normal_(weight, { std: options.std, generator: new Generator(options.seed ?? 0) });
        weights.set("score.weight", keep(weight.to(this.dtype)));
        if (options.bias) weights.set("score.bias", keep(tensor([0], { dtype: this.dtype })));
        const { plumbline: _, ...json } = this.json;
        return new Model(json, weights, "score", this.tokenizer);
      }),
    );
  }

  /** Marks every weight as one that gradients are computed for. */
  train(): this {
    for (const weight of this.#weights.values()) weight.requiresGrad = true;
    return this;
  }

  /** Writes the model to a folder in Hugging Face layout, as transformers loads it. */
  save(folder: string): void {
    mkdirSync(folder, { recursive: true });
    const type = String(this.json.model_type);
    const stem = this.#architecture.classNames[type];
    const names: Record<string, string> = { float32: "float32", bfloat16: "bfloat16", float16: "float16" };
    const json: Json = {
      ...this.json,
      architectures: [
        this.head === "lm"
          ? `${stem}${type === "gpt2" ? "LMHeadModel" : "ForCausalLM"}`
          : `${stem}ForSequenceClassification`,
      ],
      torch_dtype: names[this.dtype] ?? "float32",
    };
    if (this.head === "score") {
      json.num_labels = 1;
      json.id2label = { 0: "score" };
      json.label2id = { score: 0 };
      if (this.scoreShift) json.plumbline = { score_shift: this.scoreShift };
    }
    writeSafetensors(join(folder, "model.safetensors"), this.#weights);
    if (this.tokenizer) {
      const pad = this.tokenizer.special("pad_token");
      if (pad) json.pad_token_id = this.tokenizer.id(pad);
      json.eos_token_id = this.tokenizer.eos;
      const { tokenizer, config } = this.tokenizer.files;
      const { chat_template: _, ...rest } = config;
      writeWhole(join(folder, "tokenizer.json"), tokenizer);
      writeWhole(
        join(folder, "tokenizer_config.json"),
        this.tokenizer.chatTemplate ? { ...rest, chat_template: this.tokenizer.chatTemplate } : rest,
      );
    }
    writeWhole(join(folder, "config.json"), json);
  }

  dispose(): void {
    for (const weight of this.#weights.values()) weight.dispose();
  }
}

function writeWhole(path: string, json: unknown): void {
  writeFileSync(`${path}.tmp`, JSON.stringify(json, null, path.endsWith("tokenizer.json") ? 0 : 2));
  renameSync(`${path}.tmp`, path);
}

function parseConfig(json: Json): { architecture: Architecture<unknown>; config: unknown } {
  const type = String(json.model_type);
  const architecture = architectures[type];
  if (!architecture)
    throw new InputError(
      `config.json: model_type "${type}" is not supported (${Object.keys(architectures).join(", ")} are)`,
    );
  const parsed = architecture.schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new InputError(`config.json: ${issue?.path.join(".")}: ${issue?.message}`);
  }
  return { architecture, config: parsed.data };
}

/** The weights an architecture expects, taken from a checkpoint's, each checked for its shape. */
function takeWeights(
  json: Json,
  found: Map<string, Tensor>,
  where: string,
): { weights: Map<string, Tensor>; head: Head } {
  const { architecture, config } = parseConfig(json);
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
      const source = statSync(path).isDirectory() ? readFolder(path) : fromGguf(readGguf(path), path);
      const { weights, head } = takeWeights(source.json, source.weights, path);
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
  parseConfig(json); // before the weights: a model we cannot run is better told so
  return { json, weights: readCheckpoint(path), tokenizer: readTokenizer(path) };
}
