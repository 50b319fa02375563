import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { swiglu } from "../nn/block.ts";
import { gatedLinear, linear } from "../nn/linear.ts";
import { type Adapter, adapt, makeAdapter, weightChange } from "../nn/lora.ts";
import { type LoraConfig, loraConfig } from "../nn/lora-config.ts";
import { type Bits, block, dequantise, type Quantised, quantise, quantisedLinear } from "../nn/quantise.ts";
import {
  cat,
  type DType,
  Generator,
  gradEnabled,
  keep,
  noGrad,
  ops,
  scope,
  type Tensor,
  tensor,
} from "../tensor/index.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { Architecture, Dimensions, RunBlock, Weights } from "./architecture.ts";
import { type Attend, attentionKernels, type Batch, packedAttention } from "./attention.ts";
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
  /**
   * Keeps only each block's output for the gradient and computes the rest again, vocabulary logits too: less memory, a
   * third more time.
   */
  checkpointing = false;
  #checkpoints: { block: (x: Tensor) => Tensor; input: Tensor; output: Tensor }[] = [];
  /** What `scores` adds: set by normalisation on reference samples. */
  scoreShift: number;
  #architecture: Architecture<unknown>;
  #config: unknown;
  #weights: Map<string, Tensor>;
  /** Weights that are another model's. */
  #shared: Set<string>;
  #lookup: Weights;
  /** Frozen linear layers in fewer bits, by their names; `#weights` has those no more. */
  #quantised = new Map<string, Quantised>();
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
        const y = this.#product(name, x, bias);
        const adapter = this.#adapters.get(name);
        return adapter ? adapt(y, x, adapter) : y;
      },
      gated: (name, gate, up) =>
        this.#adapters.has(name) || this.#quantised.has(name) || weights.has(`${name}.bias`)
          ? this.#lookup.linear(name, swiglu(gate, up))
          : gatedLinear(gate, up, this.#lookup.get(`${name}.weight`)),
    };
  }

  #product(name: string, x: Tensor, bias: Tensor | null): Tensor {
    const narrow = this.#quantised.get(name);
    if (narrow) {
      const y = quantisedLinear(x, narrow);
      return bias ? y.add(bias) : y;
    }
    const weight = this.#lookup.get(`${name}.weight`);
    return this.#architecture.transposed
      ? ops.linear(x, weight.transpose(0, 1), { bias })
      : linear(x, weight, bias);
  }

  get dtype(): DType {
    return this.#lookup.get(this.#architecture.embedding).dtype;
  }

  get device(): string {
    return this.#lookup.get(this.#architecture.embedding).device;
  }

  /**
   * Whether a token's hidden state has the same bits whatever is computed beside it, so in sampling and in training: all
   * of a block goes through our bfloat16 kernels, which products of adapters and of transposed weights do not.
   */
  get exact(): boolean {
    return attentionKernels(this) !== null && !this.#architecture.transposed && !this.#lora;
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

  /**
   * Hidden states after the last norm, (tokens, hidden), or those that the batch wants. Attention stays within each sequence unless given. With
   * `checkpointing` gradients end here: `backwardBlocks` takes them through the blocks.
   */
  hidden(batch: Batch, attend: Attend = packedAttention(batch, this)): Tensor {
    return this.#architecture.forward(this.#config, this.#lookup, batch, attend, this.#run);
  }

  /** Under `checkpointing` keeps a block's output alone, without what made it. */
  #run: RunBlock = (block, input) => {
    if (!this.checkpointing || !gradEnabled()) return block(input);
    const output = noGrad(() => block(input));
    output.requiresGrad = true;
    this.#checkpoints.push({ block, input, output });
    return output;
  };

  /**
   * What `backward` of a loss leaves to do under `checkpointing`: computes each block again, from the last, and takes
   * the gradient through it (Chen et al. 2016). Without it there is nothing to do.
   */
  backwardBlocks(): void {
    for (const { block, input, output } of this.#checkpoints.splice(0).reverse())
      scope(() => {
        const { grad } = output;
        if (grad) block(input).backward(grad);
      });
  }

  /** Vocabulary logits of hidden states: (tokens, hidden) → (tokens, vocab). @throws InputError for a scalar head */
  logits(hidden: Tensor): Tensor {
    if (this.head !== "lm")
      throw new InputError("this model has a scalar head: it scores text and cannot write it");
    const head = this.#lookup.find("lm_head.weight") ?? this.#lookup.get(this.#architecture.embedding);
    return linear(hidden, head);
  }

  /**
   * What `read` makes of each token's vocabulary logits: tensors of (tokens), joined. With `checkpointing` it is given some
   * tokens at a time, so that no more logits than theirs are in memory.
   * @param hidden (tokens, hidden), from `hidden` @param read its `part` takes these tokens' share of another (tokens)
   */
  readLogits(
    hidden: Tensor,
    read: (logits: Tensor, part: (all: Tensor) => Tensor) => Tensor[],
  ): readonly Tensor[] {
    if (!this.checkpointing) return read(this.logits(hidden), (all) => all);
    const tokens = hidden.size(0);
    const parts = Array.from({ length: Math.ceil(tokens / logitsAtOnce) }, (_, i) => {
      const start = i * logitsAtOnce;
      const part = (all: Tensor) => all.narrow(0, start, Math.min(logitsAtOnce, tokens - start));
      const block = (states: Tensor) => scope(() => ops.stack(read(this.logits(states), part), { dim: 1 }));
      return this.#run(block, part(hidden));
    });
    return ops.unbind(cat(parts), { dim: 1 });
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
    const made = new Model(this.json, weights, this.head, this.tokenizer, share ? weights.keys() : []);
    return share ? made.#with(this.#quantised) : made;
  }

  #with(quantised: ReadonlyMap<string, Quantised>): this {
    for (const [name, narrow] of quantised) {
      this.#quantised.set(name, narrow);
      this.#shared.add(name);
    }
    return this;
  }

  /**
   * Rounds the blocks' linear layers to 8 bits a weight or 4 (NormalFloat; Dettmers et al. 2023, QLoRA) and frees what
   * they were. Such a model can be sampled from, and learns through adapters: models that share it are made after this.
   * @throws InputError for a model that is not on the CPU, or layers that cannot be cut into blocks of 64
   */
  quantise(bits: Bits): this {
    if (this.device !== "cpu" || this.#architecture.transposed)
      throw new InputError(
        `quantise works on models of the llama family on the CPU; this is ${this.json.model_type} on ${this.device}`,
      );
    return noGrad(() => {
      for (const [stem, weight] of this.#layers([...this.#architecture.linears])) {
        if (weight.size(1) % block !== 0)
          throw new InputError(
            `quantise: ${stem} has ${weight.size(1)} inputs, which ${block} does not divide`,
          );
        const { values, scales } = quantise(weight, bits);
        this.#quantised.set(stem, { values: keep(values), scales: keep(scales) });
        this.#weights.delete(`${stem}.weight`);
        if (!this.#shared.has(`${stem}.weight`)) weight.dispose();
      }
      return this;
    });
  }

  /** The linear layers whose name ends in one of these, with their weights. */
  #layers(targets: readonly string[]): [stem: string, weight: Tensor][] {
    return [...this.#weights].flatMap(([name, weight]) => {
      const stem = name.replace(/\.weight$/, "");
      return stem !== name && targets.includes(stem.split(".").at(-1) as string) ? [[stem, weight]] : [];
    });
  }

  #copy(dtype: DType): Map<string, Tensor> {
    const copied = (from: Tensor) => scope(() => keep(ops.to(from.detach(), dtype, { copy: true })));
    return noGrad(() => {
      const all = new Map([...this.#weights].map(([name, from]) => [name, copied(from)]));
      for (const [name, narrow] of this.#quantised)
        all.set(
          `${name}.weight`,
          scope(() => keep(dequantise(narrow, dtype))),
        );
      return all;
    });
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
        const made = new Model(json, weights, "score", this.tokenizer, shared);
        return share ? made.#with(this.#quantised) : made;
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
    const add = (stem: string, input: number, output: number, device: string) =>
      this.#adapters.set(stem, makeAdapter([input, output], lora, this.dtype, device, generator));
    for (const [stem, weight] of this.#layers(targets)) {
      const [output, input] = (transposed ? [...weight.shape].reverse() : weight.shape) as [number, number];
      add(stem, input, output, weight.device);
    }
    for (const [stem, { scales }] of this.#quantised)
      if (targets.includes(stem.split(".").at(-1) as string))
        add(stem, scales.size(1) * block, scales.size(0), scales.device);
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
    this.#disposeQuantised();
    this.#shared.clear();
    this.#disposeAdapters();
    return this;
  }

  /** Every weight with its adapter taken in; those of another model copied. */
  #merged(): Map<string, Tensor> {
    const merge = (stem: string, weight: Tensor): Tensor | undefined => {
      const adapter = this.#adapters.get(stem);
      if (!adapter) return undefined;
      return scope(() => {
        const change = weightChange(adapter);
        const added = this.#architecture.transposed ? change.transpose(0, 1) : change;
        return weight.to("float32").add(added).to(weight.dtype).contiguous();
      });
    };
    return noGrad(() => {
      const all = new Map<string, Tensor>();
      for (const [name, weight] of this.#weights) {
        const own = () => (this.#shared.has(name) ? weight.clone() : weight);
        all.set(name, merge(name.replace(/\.weight$/, ""), weight) ?? own());
      }
      for (const [stem, narrow] of this.#quantised) {
        const whole = dequantise(narrow, this.dtype);
        all.set(`${stem}.weight`, merge(stem, whole) ?? whole);
      }
      return all;
    });
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
      writeSafetensors(
        join(folder, "model.safetensors"),
        this.#lora || this.#quantised.size ? this.#merged() : this.#weights,
      ),
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
      peft_type: "LORA",
      task_type: this.head === "lm" ? "CAUSAL_LM" : "SEQ_CLS",
      r: rank,
      lora_alpha: alpha,
      target_modules: targets,
      lora_dropout: 0,
      bias: "none",
      modules_to_save: this.head === "lm" ? null : ["score"],
      fan_in_fan_out: this.#architecture.transposed,
      inference_mode: true,
      base_model_name_or_path: null,
    });
  }

  #disposeQuantised(): void {
    for (const [name, { values, scales }] of this.#quantised)
      if (!this.#shared.has(name)) for (const part of [values, scales]) part.dispose();
    this.#quantised.clear();
  }

  dispose(): void {
    this.#disposeAdapters();
    this.#disposeQuantised();
    for (const [name, weight] of this.#weights) if (!this.#shared.has(name)) weight.dispose();
  }
}

/** Under `checkpointing`: enough for a product at full speed. */
const logitsAtOnce = 256;

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
