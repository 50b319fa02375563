import type { z } from "zod";
import type { Tensor } from "../tensor/index.ts";
import type { Attend, Batch } from "./attention.ts";

/** "lm": vocabulary logits; "score": one number a token. */
export type Head = "lm" | "score";
/** A parsed config.json. */
export type Json = Record<string, unknown>;

/** A model's tensors by their Hugging Face names. */
export interface Weights {
  /** @throws Error naming the weight when there is none */
  get(name: string): Tensor;
  find(name: string): Tensor | null;
  /** What the linear layer `name` makes of x, its bias and adapter included. */
  linear(name: string, x: Tensor): Tensor;
  /** linear(name, swiglu(gate, up)), without keeping what is between for the gradient where that can be. */
  gatedLinear(name: string, gate: Tensor, up: Tensor): Tensor;
}

export interface Dimensions {
  hidden: number;
  vocab: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  /** Most tokens of a sequence. */
  context: number;
  /** How many tokens back one sees, itself included. */
  window: number;
  /** Whether the vocabulary head is the embedding. */
  tied: boolean;
}

/** Computes one block: `block(x)`, or something that amounts to it. */
export type RunBlock = (block: (x: Tensor) => Tensor, x: Tensor) => Tensor;

/** One model family: one file, named after its `model_type`. */
export interface Architecture<Config> {
  /** Parses config.json. */
  schema: z.ZodType<Config>;
  /** What backbone weights' names begin with. */
  prefix: string;
  embedding: string;
  /** transformers' class of each head, by model_type. */
  classNames: Record<string, Record<Head, string>>;
  dimensions(config: Config): Dimensions;
  /** Last parts of the names of the blocks' linear layers. */
  linears: readonly string[];
  /** Whether linear weights are stored (in, out). */
  transposed: boolean;
  /** Shape of every backbone weight. */
  shapes(config: Config): Map<string, number[]>;
  /**
   * Hidden states after the last norm, of the tokens that are wanted: (wanted tokens, hidden). Blocks and that norm go through `run`.
   */
  forward(
    config: Config,
    weights: Weights,
    batch: Pick<Batch, "ids" | "positions" | "outputIndices">,
    attend: Attend,
    run: RunBlock,
  ): Tensor;
}
