import { InputError } from "../data/errors.ts";
import { linear } from "../nn/linear.ts";
import type { LoraConfig } from "../nn/lora-config.ts";
import type { Bits } from "../nn/quantise.ts";
import { type DType, noGrad, ops, scope, type Tensor } from "../tensor/index.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type AdapterSet, LoraWeights, QuantisedWeights } from "./adapters.ts";
import type { Architecture, Dimensions, Head, Json, RunBlock } from "./architecture.ts";
import { parseModelConfig } from "./architectures.ts";
import { type Attend, attentionKernels, type Batch, packedAttention } from "./attention.ts";
import { ActivationCheckpoints, type Part } from "./checkpointing.ts";
import { readProvenance, restoreAdapters, saveModel } from "./save.ts";
import { saveDistribution, type TrainingDistribution } from "./training-distribution.ts";
import { type HeadOptions, makeScoreHead } from "./value-head.ts";
import { PlainWeights } from "./weights.ts";

type Tensors = Map<string, Tensor>;

/**
 * A transformer with one head: "lm" computes vocabulary logits, "score" one number for each token (a reward or a value).
 * Its weights stay in memory until `dispose()`.
 */
export class Model {
  /** config.json as it was read. */
  readonly json: Readonly<Json>;
  readonly head: Head;
  readonly dimensions: Dimensions;
  tokenizer: Tokenizer | undefined;
  /** Name of the stage that trained the weights, saved in config.json; undefined for a model from elsewhere. */
  stage: string | undefined;
  /**
   * Stores only each block's output and recomputes its activations, and the vocabulary logits, in the backward pass:
   * less memory, a third more time. Call `backwardBlocks` after `backward` of the loss.
   */
  gradientCheckpointing = false;
  readonly #checkpoints = new ActivationCheckpoints();
  /** What a reward model made of the answers that it learned from; undefined for other models. The model disposes it. */
  distribution: TrainingDistribution | undefined;
  /** Constant that `scores` adds to the head's output, set by `normaliseScores`. */
  scoreShift: number;
  readonly #architecture: Architecture<unknown>;
  readonly #config: unknown;
  readonly #plain: PlainWeights;
  readonly #quantised: QuantisedWeights;
  /** The weights that the forward pass reads: `#plain`, wrapped by quantised layers, wrapped by adapters. */
  readonly #weights: LoraWeights;

  /** @param borrowed names of weights that belong to another model, which disposes them */
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
   * Whether a token's hidden state has the same bits whatever it is batched with, so also in sampling and in training.
   * That holds where all of a block runs in our bfloat16 kernels; adapters and transposed weights do not.
   */
  get isBatchInvariant(): boolean {
    return attentionKernels(this) !== null && !this.#architecture.transposed && !this.#weights.sets.length;
  }

  /** All weights that are neither quantised nor adapters, by their Hugging Face names. */
  get parameters(): ReadonlyMap<string, Tensor> {
    return this.#plain.tensors;
  }

  /** The tokenizer. @throws InputError when the model came without one */
  get text(): Tokenizer {
    if (!this.tokenizer) throw new InputError("this model has no tokenizer: its folder lacks tokenizer.json");
    return this.tokenizer;
  }

  /**
   * Computes the hidden states after the last norm: (tokens, hidden), or (outputs, hidden) with `batch.outputIndices`.
   * With `gradientCheckpointing`, `backward` of a loss stops at these states: `backwardBlocks` continues it.
   * @param attend attention of each layer. Default: causal, within each sequence of the batch
   * @throws InputError for a token outside the vocabulary, or a sequence longer than the context
   */
  hidden(batch: Batch, attend: Attend = packedAttention(batch, this)): Tensor {
    checkExtent(batch, this.dimensions);
    const run: RunBlock = this.gradientCheckpointing ? this.#checkpoints.run : (block, x) => block(x);
    return this.#architecture.forward(this.#config, this.#weights, batch, attend, run);
  }

  /**
   * Finishes the backward pass under `gradientCheckpointing`: recomputes each block, from the last to the first, and
   * propagates the gradient through it. Call it after `backward` of the loss. Without checkpointing it does nothing.
   */
  backwardBlocks(): void {
    this.#checkpoints.backward();
  }

  /**
   * Computes vocabulary logits.
   * @param hidden (tokens, hidden) @returns (tokens, vocab)
   * @throws InputError for a model with a scalar head
   */
  logits(hidden: Tensor): Tensor {
    if (this.head !== "lm")
      throw new InputError("this model has a scalar head: it scores text and cannot write it");
    const head = this.#weights.find("lm_head.weight") ?? this.#weights.get(this.#architecture.embedding);
    return linear(hidden, head);
  }

  /**
   * Calls `read` with vocabulary logits and returns its tensors. With `gradientCheckpointing` it is called for a chunk
   * of the tokens at a time, so that the logits of all tokens are never in memory together.
   * @param hidden (tokens, hidden), from `hidden`
   * @param read takes the logits (chunk tokens, vocab) and returns tensors of (chunk tokens); its `part` selects the
   * chunk's values from a tensor (tokens)
   * @returns the tensors of all chunks, concatenated: (tokens)
   */
  readLogits(hidden: Tensor, read: (logits: Tensor, part: Part) => Tensor[]): readonly Tensor[] {
    if (!this.gradientCheckpointing) return read(this.logits(hidden), (all) => all);
    return this.#checkpoints.runInParts(hidden, (states, part) => read(this.logits(states), part));
  }

  /** Applies the scalar head, in float32: (tokens, hidden) → (tokens). */
  scores(hidden: Tensor): Tensor {
    // In bfloat16 a score of 3 would be rounded to 1/64.
    const weight = this.#weights.get("score.weight").to("float32");
    const bias = this.#weights.find("score.bias")?.to("float32") ?? null;
    const raw = ops.linear(hidden.to("float32"), weight, { bias }).squeeze(-1);
    return this.scoreShift ? raw.add(this.scoreShift) : raw;
  }

  /**
   * Rescales the scalar head so that scores of this mean and standard deviation get mean 0 and deviation 1.
   * @throws InputError when `std` is not positive
   */
  normaliseScores(mean: number, std: number): void {
    if (!(std > 0)) throw new InputError(`scores cannot be normalised: their standard deviation is ${std}`);
    for (const name of ["score.weight", "score.bias"])
      noGrad(() => scope(() => this.#weights.find(name)?.mul_(1 / std)));
    this.scoreShift = (this.scoreShift - mean) / std;
  }

  /**
   * Copies the model. With `share` the copy uses this model's weights: do not dispose this model before the copy.
   * @param dtype of the copy; ignored with `share`
   */
  clone({ dtype = this.dtype, share = false }: { dtype?: DType; share?: boolean } = {}): Model {
    const copy = this.#withWeights(this.json, this.head, this.#copyWeights(share, dtype), share, dtype);
    copy.stage = this.stage;
    copy.scoreShift = this.scoreShift;
    return copy;
  }

  #copyWeights(share: boolean, dtype: DType): Tensors {
    return share ? new Map(this.#plain.tensors) : noGrad(() => this.#quantised.copy(dtype));
  }

  /**
   * Makes a model with these weights and this model's adapters, which its training leaves as they are.
   * @param share whether `weights` and the adapters stay this model's @param dtype of the adapters, unless shared
   * @param added more weights, which the new model disposes
   */
  #withWeights(
    json: Json,
    head: Head,
    weights: Tensors,
    share: boolean,
    dtype: DType,
    added: Tensors = new Map(),
  ): Model {
    const borrowed = share ? weights.keys() : [];
    const model = new Model(json, new Map([...weights, ...added]), head, this.tokenizer, borrowed);
    if (share) model.#quantised.borrow(this.#quantised);
    model.#weights.addFrozen(share ? this.#weights.sets : this.#weights.copySets(dtype), share);
    return model;
  }

  /**
   * Quantises the blocks' linear layers to 8 bits or to 4 (NormalFloat; Dettmers et al. 2023, QLoRA), in place. The
   * model can then be sampled from, and be trained through adapters. Make copies that share its weights after this call.
   * @throws InputError for a model of another family than llama or not on the CPU, or a layer whose inputs are no multiple of 64
   */
  quantise(bits: Bits): this {
    if (this.device !== "cpu" || this.#architecture.transposed)
      throw new InputError(
        `quantise works on models of the llama family on the CPU; this is ${this.json.model_type} on ${this.device}`,
      );
    noGrad(() => this.#quantised.quantise(this.#architecture.linears, bits));
    return this;
  }

  /**
   * Copies the model with a new scalar head in place of its head: weights from N(0, std²), and with `bias` a bias of 0.
   * With `share` the copy uses this model's other weights: do not dispose this model before the copy.
   */
  withScoreHead({ share = false, ...options }: HeadOptions & { share?: boolean }): Model {
    return noGrad(() =>
      scope(() => {
        const weights = this.#copyWeights(share, this.dtype);
        for (const old of ["lm_head.weight", "score.weight", "score.bias"]) {
          if (!share) weights.get(old)?.dispose();
          weights.delete(old);
        }
        const head = makeScoreHead(this.dimensions.hidden, this.dtype, options);
        const { plumbline: _, ...json } = this.json;
        return this.#withWeights(json, "score", weights, share, this.dtype, head);
      }),
    );
  }

  /**
   * Adds low-rank adapters to linear layers (LoRA; Hu et al. 2021). The adapters are then trained in place of the
   * weights, together with a scalar head if there is one.
   * @param from folder of a checkpoint to load the adapters from
   * @throws InputError when a target names no layer, or the checkpoint's adapters have other settings
   */
  addLora(
    settings: Partial<LoraConfig> = {},
    { seed = 0, from }: { seed?: number; from?: string } = {},
  ): this {
    this.#weights.add(settings, this.#architecture.linears, this.dtype, seed);
    if (from !== undefined) this.scoreShift = restoreAdapters(from, this.learned).scoreShift;
    return this;
  }

  /** Adds adapters that were trained before. Training leaves them as they are; the model disposes them. */
  addFrozenAdapters(sets: readonly AdapterSet[]): this {
    this.#weights.addFrozen(sets);
    return this;
  }

  /** Trainable tensors: all weights by name; with LoRA the adapters and a scalar head, by PEFT's names. */
  get learned(): ReadonlyMap<string, Tensor> {
    return this.#weights.config ? this.#weights.learned : this.#plain.tensors;
  }

  /** Sets `requiresGrad` of the trainable tensors. */
  train(): this {
    for (const weight of this.learned.values()) weight.requiresGrad = true;
    return this;
  }

  /**
   * Clears `requiresGrad`. Adapters stay beside the weights, as bfloat16 weights would round them. A model that has them
   * shares no weights with another afterwards.
   */
  finishTraining(): this {
    for (const weight of this.learned.values()) weight.requiresGrad = false;
    if (!this.#weights.config) return this;
    noGrad(() => scope(() => this.#plain.replace(this.#quantised.merged())));
    this.#quantised.dispose();
    this.#weights.freeze();
    return this;
  }

  /**
   * Saves the model in Hugging Face layout, which transformers loads. Adapters are merged into the saved weights, in
   * float32, and saved by themselves, those trained last in `adapter/`, which PEFT loads. `openModel` parts them again.
   */
  save(folder: string): void {
    saveModel(folder, this, this.#architecture, this.#weights);
    if (this.distribution) saveDistribution(folder, this.distribution);
  }

  /** Frees the weights, except those that it shares with another model. */
  dispose(): void {
    this.#weights.dispose();
    this.#quantised.dispose();
    this.#plain.dispose();
    for (const part of Object.values(this.distribution ?? {})) part.dispose();
    this.distribution = undefined;
  }
}

/** @throws InputError for a token outside the vocabulary, or a sequence longer than the context */
function checkExtent({ extent }: Batch, { vocab, context }: Dimensions): void {
  if (!extent) return;
  const [least, greatest] = extent.ids;
  if (least < 0 || greatest >= vocab)
    throw new InputError(
      `token id ${least < 0 ? least : greatest} is outside the model's vocabulary of ${vocab} tokens: was the text encoded by another model's tokenizer?`,
    );
  if (extent.position >= context)
    throw new InputError(
      `a sequence of ${extent.position + 1} tokens does not fit the model's context of ${context}: shorten the prompt or the response`,
    );
}
