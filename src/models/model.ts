import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { swiglu } from "../nn/block.ts";
import { gatedLinear, linear } from "../nn/linear.ts";
import { type Adapter, adapt, makeAdapter, weightChange } from "../nn/lora.ts";
import { type LoraConfig, loraConfig } from "../nn/lora-config.ts";
import { type DType, Generator, keep, noGrad, ops, scope, type Tensor, tensor } from "../tensor/index.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Architecture, Dimensions, Weights } from "./architecture.ts";
import { type Attend, type Batch, packedAttention } from "./attention.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";
import { copyWeights, readSafetensors, writeSafetensors } from "./safetensors.ts";

// biome-ignore lint/suspicious/noExplicitAny: each architecture has a config of its own, which only it reads
const architectures: Record<string, Architecture<any>> = { llama, mistral: llama, gpt2 };

export type Head = "lm" | "score";
export type Json = Record<string, unknown>;

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
  /** Weights that are another model's. */
  #shared: Set<string>;
  #lookup: Weights;
  #lora: LoraConfig | undefined;
  #adapters = new Map<string, Adapter>();

  constructor(
    json: Json,
    weights: Map<string, Tensor>,
    head: Head,
    tokenizer: Tokenizer | undefined,
    shared: Iterable<string> = [],
  ) {
    const { architecture, config } = parseConfig(json);
    this.json = { ...json };
    this.head = head;
    this.tokenizer = tokenizer;
    this.scoreShift = shiftOf(json);
    this.#architecture = architecture;
    this.#config = config;
    this.#weights = keep(weights);
    this.#shared = new Set(shared);
    this.dimensions = architecture.dimensions(config);
    this.#lookup = {
      find: (name) => weights.get(name) ?? null,
      get(name) {
        const found = weights.get(name);
        if (!found) throw new Error(`the model has no weight "${name}"`);
        return found;
      },
      linear: (name, x) => {
        const bias = weights.get(`${name}.bias`) ?? null;
        const weight = this.#lookup.get(`${name}.weight`);
        const y = architecture.transposed
          ? ops.linear(x, weight.transpose(0, 1), { bias })
          : linear(x, weight, bias);
        const adapter = this.#adapters.get(name);
        return adapter ? adapt(y, x, adapter) : y;
      },
      gated: (name, gate, up) =>
        this.#adapters.has(name) || weights.has(`${name}.bias`)
          ? this.#lookup.linear(name, swiglu(gate, up))
          : gatedLinear(gate, up, this.#lookup.get(`${name}.weight`)),
    };
  }

  get dtype(): DType {
    return this.#lookup.get(this.#architecture.embedding).dtype;
  }

  get device(): string {
    return this.#lookup.get(this.#architecture.embedding).device;
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
  hidden(batch: Batch, attend: Attend = packedAttention(batch, this)): Tensor {
    return this.#architecture.forward(this.#config, this.#lookup, batch.ids, batch.positions, attend);
  }

  /** Vocabulary logits of hidden states: (tokens, hidden) → (tokens, vocab). @throws InputError for a scalar head */
  logits(hidden: Tensor): Tensor {
    if (this.head !== "lm")
      throw new InputError("this model has a scalar head: it scores text and cannot write it");
    const head = this.#lookup.find("lm_head.weight") ?? this.#lookup.get(this.#architecture.embedding);
    return linear(hidden, head);
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

  /**
   * A copy whose weights share nothing with this one's; with `share` a model on the same weights, which stay this one's:
   * keep this one while it lives.
   */
  clone({ dtype = this.dtype, share = false }: { dtype?: DType; share?: boolean } = {}): Model {
    const weights = share ? new Map(this.#weights) : this.#copy(dtype);
    return new Model(this.json, weights, this.head, this.tokenizer, share ? weights.keys() : []);
  }

  #copy(dtype: DType): Map<string, Tensor> {
    const copied = (from: Tensor) => scope(() => keep(ops.to(from.detach(), dtype, { copy: true })));
    return noGrad(() => new Map([...this.#weights].map(([name, from]) => [name, copied(from)])));
  }

  /**
   * A copy with a fresh scalar head in place of the head it has: weights from N(0, std²), or zeros; with a bias of 0
   * where `bias`. With `share` the rest stays this model's: keep it while the new one lives.
   */
  withScoreHead(options: { std: number; seed?: number; bias?: boolean; share?: boolean }): Model {
    return noGrad(() =>
      scope(() => {
        const { share = false } = options;
        const weights = share ? new Map(this.#weights) : this.#copy(this.dtype);
        for (const old of ["lm_head.weight", "score.weight", "score.bias"]) {
          if (!share) weights.get(old)?.dispose();
          weights.delete(old);
        }
        const shared = share ? [...weights.keys()] : [];
        const weight = ops.zeros([1, this.dimensions.hidden]);
        if (options.std)
          ops.normal_(weight, { std: options.std, generator: new Generator(options.seed ?? 0) });
        weights.set("score.weight", keep(weight.to(this.dtype)));
        if (options.bias) weights.set("score.bias", keep(tensor([0], { dtype: this.dtype })));
        const { plumbline: _, ...json } = this.json;
        return new Model(json, weights, "score", this.tokenizer, shared);
      }),
    );
  }

  /**
   * Gives linear layers low-rank adapters (Hu et al. 2021), which then learn in place of the weights; a scalar head
   * learns with them.
   * @param from a checkpoint of a model with adapters, to go on from
   * @throws InputError when a target names no layer, or the checkpoint has other adapters
   */
  addLora(
    settings: Partial<LoraConfig> = {},
    { seed = 0, from }: { seed?: number; from?: string } = {},
  ): this {
    const { linears, transposed } = this.#architecture;
    const lora = loraConfig.parse(settings);
    const { targets = linears } = lora;
    const unknown = targets.find((target) => !linears.includes(target));
    if (unknown !== undefined)
      throw new InputError(`lora: no layer is called "${unknown}" (${linears.join(", ")} are)`);
    const generator = new Generator(seed);
    for (const [name, weight] of this.#weights) {
      const stem = name.replace(/\.weight$/, "");
      if (stem === name || !targets.includes(stem.split(".").at(-1) as string)) continue;
      const [output, input] = (transposed ? [...weight.shape].reverse() : weight.shape) as [number, number];
      this.#adapters.set(stem, makeAdapter([input, output], lora, this.dtype, weight.device, generator));
    }
    this.#lora = { ...lora, targets: [...targets] };
    if (from !== undefined) this.#restore(from);
    return this;
  }

  #restore(from: string): void {
    const path = join(from, "adapter", "adapter_model.safetensors");
    copyWeights(this.learned, readSafetensors(path), path, "other lora settings?");
    const json = JSON.parse(readFileSync(join(from, "config.json"), "utf8")) as Json;
    this.scoreShift = shiftOf(json);
  }

  /** What training changes: every weight; under LoRA the adapters and a scalar head, by PEFT's names. */
  get learned(): ReadonlyMap<string, Tensor> {
    if (!this.#lora) return this.#weights;
    const learned = new Map<string, Tensor>();
    for (const [stem, { a, b }] of this.#adapters)
      learned.set(peftName(`${stem}.lora_A.weight`), a).set(peftName(`${stem}.lora_B.weight`), b);
    for (const [name, weight] of this.#weights)
      if (name.startsWith("score.")) learned.set(peftName(name), weight);
    return learned;
  }

  /** Marks what training changes as what gradients are computed for. */
  train(): this {
    for (const weight of this.learned.values()) weight.requiresGrad = true;
    return this;
  }

  /** Ends what `train` began, and takes adapters into the weights: afterwards the model shares none. */
  finish(): this {
    for (const weight of this.learned.values()) weight.requiresGrad = false;
    if (!this.#lora) return this;
    for (const [name, weight] of this.#merged()) {
      const old = this.#weights.get(name);
      this.#weights.set(name, keep(weight));
      if (weight !== old && !this.#shared.has(name)) old?.dispose();
    }
    this.#shared.clear();
    this.#disposeAdapters();
    return this;
  }

  /** Every weight with its adapter taken in; those of another model copied. */
  #merged(): Map<string, Tensor> {
    return noGrad(
      () =>
        new Map(
          [...this.#weights].map(([name, weight]) => {
            const adapter = this.#adapters.get(name.replace(/\.weight$/, ""));
            if (!adapter) return [name, this.#shared.has(name) ? weight.clone() : weight];
            return [
              name,
              scope(() => {
                const change = weightChange(adapter);
                const added = this.#architecture.transposed ? change.transpose(0, 1) : change;
                return weight.to("float32").add(added).to(weight.dtype).contiguous();
              }),
            ];
          }),
        ),
    );
  }

  #disposeAdapters(): void {
    for (const { a, b } of this.#adapters.values()) for (const part of [a, b]) part.dispose();
    this.#adapters.clear();
    this.#lora = undefined;
  }

  /**
   * Writes the model to a folder in Hugging Face layout, as transformers loads it. Adapters are taken into the weights
   * written, and written apart to `adapter/` as PEFT loads them.
   */
  save(folder: string): void {
    mkdirSync(folder, { recursive: true });
    if (this.#lora) this.#saveAdapter(join(folder, "adapter"), this.#lora);
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
    scope(() =>
      writeSafetensors(join(folder, "model.safetensors"), this.#lora ? this.#merged() : this.#weights),
    );
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

  #saveAdapter(folder: string, { rank, alpha, targets }: LoraConfig): void {
    mkdirSync(folder, { recursive: true });
    writeSafetensors(join(folder, "adapter_model.safetensors"), this.learned);
    writeWhole(join(folder, "adapter_config.json"), {
      ...{ peft_type: "LORA", task_type: this.head === "lm" ? "CAUSAL_LM" : "SEQ_CLS" },
      ...{ r: rank, lora_alpha: alpha, target_modules: targets, lora_dropout: 0, bias: "none" },
      modules_to_save: this.head === "lm" ? null : ["score"],
      ...{ fan_in_fan_out: this.#architecture.transposed, inference_mode: true },
      base_model_name_or_path: null,
    });
  }

  dispose(): void {
    this.#disposeAdapters();
    for (const [name, weight] of this.#weights) if (!this.#shared.has(name)) weight.dispose();
  }
}

const peftName = (name: string): string => `base_model.model.${name}`;

const shiftOf = (json: Json): number =>
  Number((json.plumbline as { score_shift?: number } | undefined)?.score_shift ?? 0);

function writeWhole(path: string, json: unknown): void {
  writeFileSync(`${path}.tmp`, JSON.stringify(json, null, path.endsWith("tokenizer.json") ? 0 : 2));
  renameSync(`${path}.tmp`, path);
}

/** The architecture that config.json names, and its settings. @throws InputError */
export function parseConfig(json: Json): { architecture: Architecture<unknown>; config: unknown } {
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
