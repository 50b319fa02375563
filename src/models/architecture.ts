import type { z } from "zod";
import type { Tensor } from "../tensor/index.ts";
import type { Attend, Batch } from "./attention.ts";

/** Head of a model: "lm" computes vocabulary logits, "score" one number for each token (a reward or a value). */
export type Head = "lm" | "score";
/** A parsed config.json. */
export type Json = Record<string, unknown>;

/** Most layers that config.json may ask for: a damaged number should be an error, not a list of two billion weights. */
export const mostLayers = 10_000;

/** Weights of a model by their Hugging Face names. */
export interface Weights {
  /** Returns a weight. @throws Error when there is none of this name */
  get(name: string): Tensor;
  /** Returns a weight, or null. */
  find(name: string): Tensor | null;
  /** Returns the weight of layer `name`, (out, in) if linear; null if it has a bias or an adapter, is quantised or transposed. */
  matrix(name: string): Tensor | null;
  /** Applies the linear layer `name` with its bias and adapter: (tokens, in) → (tokens, out). */
  linear(name: string, x: Tensor): Tensor;
  /** Computes linear(name, swiglu(gate, up)), where possible without storing swiglu's output for the backward pass. */
  gatedLinear(name: string, gate: Tensor, up: Tensor): Tensor;
}

/** Sizes of a model. */
export interface Dimensions {
  hidden: number;
  vocab: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Most tokens of a sequence. */
  context: number;
  /** Number of positions that a token attends to, itself included; Infinity without a sliding window. */
  window: number;
  /** Whether the vocabulary head shares the embedding's weight. */
  tied: boolean;
}

/** Runs one block: returns `block(x)`, perhaps with gradient checkpointing. */
export type RunBlock = (block: (x: Tensor) => Tensor, x: Tensor) => Tensor;

/** A model family. Each is in a file named after its `model_type`. */
export interface Architecture<Config> {
  /** Schema of config.json. */
  schema: z.ZodType<Config>;
  /** Prefix of the backbone's weight names. */
  prefix: string;
  /** Name of the token embedding's weight. */
  embedding: string;
  /** Class names of transformers, by model_type and head. */
  classNames: Record<string, Record<Head, string>>;
  dimensions(config: Config): Dimensions;
  /** Last parts of the names of the blocks' linear layers. */
  linears: readonly string[];
  /** Whether linear weights are stored as (in, out), not (out, in). */
  transposed: boolean;
  /** Returns the shape of every backbone weight by name. */
  shapes(config: Config): Map<string, number[]>;
  /**
   * Computes the hidden states after the last norm: (tokens, hidden), or (outputs, hidden) with `batch.outputIndices`.
   * @param attend attention of each layer @param run runs each block, and the last norm
   */
  forward(
    config: Config,
    weights: Weights,
    batch: Pick<Batch, "ids" | "positions" | "outputIndices">,
    attend: Attend,
    run: RunBlock,
  ): Tensor;
}
