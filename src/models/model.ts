import { InputError } from "../data/errors.ts";
import { linear } from "../nn/linear.ts";
import type { LoraConfig } from "../nn/lora-config.ts";
import type { Bits } from "../nn/quantise.ts";
import { type DType, noGrad, ops, scope, type Tensor } from "../tensor/index.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { LoraWeights, QuantisedWeights } from "./adapters.ts";
import type { Architecture, Dimensions, Head, Json, RunBlock } from "./architecture.ts";
import { parseModelConfig } from "./architectures.ts";
import { type Attend, attentionKernels, type Batch, packedAttention } from "./attention.ts";
import { ActivationCheckpoints, type Part } from "./checkpointing.ts";
import { readProvenance, restoreAdapters, saveModel } from "./save.ts";
import { type HeadOptions, makeScoreHead } from "./value-head.ts";
import { PlainWeights } from "./weights.ts";

type Tensors = Map<string, Tensor>;

/**
 * A transformer with one head: "lm" gives vocabulary logits, "score" one number a token (a reward or a value).
 * Its weights live until `dispose()`.
 */
export class Model {
  /** config.json as it was read. */
  readonly json: Readonly<Json>;
  readonly head: Head;
  readonly dimensions: Dimensions;
  readonly tokenizer: Tokenizer | undefined;
  /** Name of the stage that trained the weights, saved in config.json; undefined: none of ours did. */
  stage: string | undefined;
  /**
   * Keeps only each block's output for the gradient and computes the rest again, vocabulary logits too: less memory, a
   * third more time.
   */
  gradientCheckpointing = false;
  readonly #checkpoints = new ActivationCheckpoints();
  /** What `scores` adds: set by normalisation on reference samples. */
  scoreShift: number;
  readonly #architecture: Architecture<unknown>;
  readonly #config: unknown;
  readonly #plain: PlainWeights;
  readonly #quantised: QuantisedWeights;
  /** The weights that `forward` reads: `#plain` under `#quantised` under adapters. */
  readonly #weights: LoraWeights;

  /** @param borrowed names of weights that another model disposes */
  constructor(
    json: Json,
    weights: Map<string, Tensor>,
    head: Head,
    tokenizer: Tokenizer | undefined,
    borrowed: Iterable<string> = [],
  ) {
    const { architecture, config } = parseModelConfig(json);
    this.json = json;
    this.head = head;
    this.tokenizer = tokenizer;
    ({ stage: this.stage, scoreShift: this.scoreShift } = readProvenance(json));
    this.#architecture = architecture;
    this.#config = config;
    this.dimensions = architecture.dimensions(config);
    this.#plain = new PlainWeights(weights, architecture.transposed, borrowed);
    this.#quantised = new QuantisedWeights(this.#plain);
    this.#weights = new LoraWeights(this.#quantised);
  }

  get dtype(): DType {
    return this.#weights.get(this.#architecture.embedding).dtype;
  }

  get device(): string {
    return this.#weights.get(this.#architecture.embedding).device;
  }

  /**
   * Whether a token's hidden state has the same bits whatever is computed beside it, so in sampling and in training: all
   * of a block goes through our bfloat16 kernels, which products of adapters and of transposed weights do not.
   */
  get isBatchInvariant(): boolean {
    return attentionKernels(this) !== null && !this.#architecture.transposed && !this.#weights.config;
  }

  /** Every weight by its Hugging Face name. */
  get parameters(): ReadonlyMap<string, Tensor> {
    return this.#plain.tensors;
  }

  /** The tokenizer. @throws InputError when the model came without one */
  get text(): Tokenizer {
    if (!this.tokenizer) throw new InputError("this model has no tokenizer: its folder lacks tokenizer.json");
    return this.tokenizer;
  }

  /**
   * Hidden states after the last norm, (tokens, hidden), or those that the batch wants. Attention stays within each
   * sequence unless given. With `checkpointing` gradients end here: `backwardBlocks` takes them through the blocks.
   */
  hidden(batch: Batch, attend: Attend = packedAttention(batch, this)): Tensor {
    const run: RunBlock = this.gradientCheckpointing ? this.#checkpoints.run : (block, x) => block(x);
    return this.#architecture.forward(this.#config, this.#weights, batch, attend, run);
  }

  /**
   * What `backward` of a loss leaves to do under `checkpointing`: computes each block again, from the last, and takes
   * the gradient through it. Without it there is nothing to do.
   */
  backwardBlocks(): void {
    this.#checkpoints.backward();
  }

  /** Vocabulary logits of hidden states: (tokens, hidden) → (tokens, vocab). @throws InputError for a scalar head */
  logits(hidden: Tensor): Tensor {
    if (this.head !== "lm")
      throw new InputError("this model has a scalar head: it scores text and cannot write it");
    const head = this.#weights.find("lm_head.weight") ?? this.#weights.get(this.#architecture.embedding);
    return linear(hidden, head);
  }

  /**
   * What `read` makes of each token's vocabulary logits: tensors of (tokens), joined. With `checkpointing` it is given
   * some tokens at a time, so that no more logits than theirs are in memory.
   * @param hidden (tokens, hidden), from `hidden` @param read its `part` selects these tokens' values of others (tokens)
   */
  readLogits(hidden: Tensor, read: (logits: Tensor, part: Part) => Tensor[]): readonly Tensor[] {
    if (!this.gradientCheckpointing) return read(this.logits(hidden), (all) => all);
    return this.#checkpoints.runInParts(hidden, (states, part) => read(this.logits(states), part));
  }

  /** The scalar head on hidden states, in float32: (tokens, hidden) → (tokens). */
  scores(hidden: Tensor): Tensor {
    // In bfloat16 a score of 3 would be rounded to 1/64.
    const weight = this.#weights.get("score.weight").to("float32");
    const bias = this.#weights.find("score.bias")?.to("float32") ?? null;
    const raw = ops.linear(hidden.to("float32"), weight, { bias }).squeeze(-1);
    return this.scoreShift ? raw.add(this.scoreShift) : raw;
  }

  /** Rescales the head so that scores of this mean and deviation become 0 and 1. */
  normaliseScores(mean: number, std: number): void {
    if (!(std > 0)) throw new InputError(`scores cannot be normalised: their standard deviation is ${std}`);
    for (const name of ["score.weight", "score.bias"])
      noGrad(() => scope(() => this.#weights.find(name)?.mul_(1 / std)));
    this.scoreShift = (this.scoreShift - mean) / std;
  }

  /**
   * A copy whose weights share nothing with this one's; with `share` a model on the same weights, which stay this one's:
   * keep this one while it lives.
   */
  clone({ dtype = this.dtype, share = false }: { dtype?: DType; share?: boolean } = {}): Model {
    const made = this.#withWeights(this.json, this.head, this.#copy(share, dtype), share);
    made.stage = this.stage;
    made.scoreShift = this.scoreShift;
    return made;
  }

  #copy(share: boolean, dtype: DType): Tensors {
    return share ? new Map(this.#plain.tensors) : noGrad(() => this.#quantised.copy(dtype));
  }

  /** @param weights borrowed where `share` @param added weights that the new model owns beside them */
  #withWeights(json: Json, head: Head, weights: Tensors, share: boolean, added: Tensors = new Map()): Model {
    const borrowed = share ? weights.keys() : [];
    const made = new Model(json, new Map([...weights, ...added]), head, this.tokenizer, borrowed);
    if (share) made.#quantised.borrow(this.#quantised);
    return made;
  }

  /**
   * Rounds the blocks' linear layers to 8 bits a weight or 4 (NormalFloat; Dettmers et al. 2023, QLoRA) and frees what
   * they were. Such a model can be sampled from, and learns through adapters: models that share it are made after this.
   * @throws InputError for another dtype than bfloat16 on the CPU, or layers that cannot be cut into blocks of 64
   */
  quantise(bits: Bits): this {
    if (this.dtype !== "bfloat16" || this.device !== "cpu" || this.#architecture.transposed)
      throw new InputError(
        `quantise works on bfloat16 models of the llama family on the CPU; this is ${this.json.model_type} on ${this.device}`,
      );
    noGrad(() => this.#quantised.quantise(this.#architecture.linears, bits));
    return this;
  }

  /**
   * A copy with a fresh scalar head in place of the head it has: weights from N(0, std²), or zeros; with a bias of 0
   * where `bias`. With `share` the rest stays this model's: keep it while the new one lives.
   */
  withScoreHead({ share = false, ...options }: HeadOptions & { share?: boolean }): Model {
    return noGrad(() =>
      scope(() => {
        const weights = this.#copy(share, this.dtype);
        for (const old of ["lm_head.weight", "score.weight", "score.bias"]) {
          if (!share) weights.get(old)?.dispose();
          weights.delete(old);
        }
        const head = makeScoreHead(this.dimensions.hidden, this.dtype, options);
        const { plumbline: _, ...json } = this.json;
        return this.#withWeights(json, "score", weights, share, head);
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
    this.#weights.add(settings, this.#architecture.linears, this.dtype, seed);
    if (from !== undefined) this.scoreShift = restoreAdapters(from, this.learned).scoreShift;
    return this;
  }

  /** What training changes: every weight; under LoRA the adapters and a scalar head, by PEFT's names. */
  get learned(): ReadonlyMap<string, Tensor> {
    return this.#weights.config ? this.#weights.learned : this.#plain.tensors;
  }

  /** Marks what training changes as what gradients are computed for. */
  train(): this {
    for (const weight of this.learned.values()) weight.requiresGrad = true;
    return this;
  }

  /** Ends what `train` began, and takes adapters into the weights: afterwards the model shares none. */
  finishTraining(): this {
    for (const weight of this.learned.values()) weight.requiresGrad = false;
    if (!this.#weights.config) return this;
    noGrad(() => scope(() => this.#plain.replace(this.#weights.merged())));
    this.#quantised.dispose();
    this.#weights.dispose();
    return this;
  }

  /**
   * Writes the model to a folder in Hugging Face layout, as transformers loads it. Adapters are taken into the weights
   * written, and written apart to `adapter/` as PEFT loads them.
   */
  save(folder: string): void {
    saveModel(folder, this, this.#architecture, this.#weights);
  }

  dispose(): void {
    this.#weights.dispose();
    this.#quantised.dispose();
    this.#plain.dispose();
  }
}
