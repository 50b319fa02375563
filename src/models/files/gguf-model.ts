import { InputError } from "../../data/errors.ts";
import type { Tensor } from "../../tensor/index.ts";
import { tokenizerFromGguf } from "../../text/gguf-tokenizer.ts";
import type { Json } from "../architecture.ts";
import type { Gguf } from "./gguf.ts";

/** Patterns of llama.cpp's tensor names, with Hugging Face's names. */
const names: [RegExp, string][] = [
  [/^token_embd\./, "model.embed_tokens."],
  [/^output_norm\./, "model.norm."],
  [/^output\./, "lm_head."],
  [/^blk\.(\d+)\.attn_norm\./, "model.layers.$1.input_layernorm."],
  [/^blk\.(\d+)\.ffn_norm\./, "model.layers.$1.post_attention_layernorm."],
  [/^blk\.(\d+)\.attn_output\./, "model.layers.$1.self_attn.o_proj."],
  [/^blk\.(\d+)\.attn_([qkv])\./, "model.layers.$1.self_attn.$2_proj."],
  [/^blk\.(\d+)\.ffn_(gate|up|down)\./, "model.layers.$1.mlp.$2_proj."],
];

/** Reorders the rows of rotary heads: llama.cpp interleaves the halves of a head, Hugging Face stores one after the other. */
function unpermute(weight: Tensor, heads: number): Tensor {
  const [rows = 0, ...rest] = weight.shape;
  return weight
    .reshape(heads, rows / heads / 2, 2, ...rest)
    .transpose(1, 2)
    .reshape(rows, ...rest);
}

/**
 * Reads how rotary frequencies are scaled to a longer context, as config.json's `rope_scaling`; null if they are not.
 * @param path of the file, for errors @throws InputError for a method other than linear
 */
function ropeScaling(metadata: Gguf["metadata"], path: string): Json | null {
  // Files of before 2023-10 have only the factor.
  const factor = metadata.get("llama.rope.scaling.factor") ?? metadata.get("llama.rope.scale_linear");
  const type = metadata.get("llama.rope.scaling.type") ?? (factor === undefined ? "none" : "linear");
  if (type === "none") return null;
  if (type !== "linear" || typeof factor !== "number")
    throw new InputError(
      `${path}: llama.rope.scaling.type "${type}" is not supported (none and linear, with a factor, are): use the model's safetensors folder`,
    );
  return { rope_type: "linear", factor };
}

/**
 * Converts a GGUF file's llama model to Hugging Face's names, with its config.json and tokenizer.
 * @param path of the file, for errors @throws InputError for another architecture or an unknown tensor
 */
export function modelFromGguf({ metadata, tensors }: Gguf, path: string) {
  const architecture = metadata.get("general.architecture");
  if (architecture !== "llama")
    throw new InputError(`${path}: GGUF architecture "${architecture}" is not supported (llama is)`);
  const number = (key: string, fallback?: number) => {
    const value = metadata.get(`llama.${key}`) ?? fallback;
    if (typeof value !== "number") throw new InputError(`${path}: the metadata lacks llama.${key}`);
    return value;
  };
  const heads = number("attention.head_count");
  const kvHeads = number("attention.head_count_kv", heads);
  const weights = new Map<string, Tensor>();
  for (const [name, weight] of tensors) {
    const rule = names.find(([pattern]) => pattern.test(name));
    if (!rule)
      throw new InputError(
        `${path}: unknown tensor "${name}" (scaled rotary frequencies and mixtures of experts are not supported)`,
      );
    const hfName = name.replace(...rule);
    const rotaryHeads = hfName.includes("q_proj") ? heads : hfName.includes("k_proj") ? kvHeads : 0;
    weights.set(hfName, rotaryHeads ? unpermute(weight, rotaryHeads) : weight);
  }
  const tokenizer = tokenizerFromGguf(metadata);
  const hidden = number("embedding_length");
  const headDim = number("attention.key_length", hidden / heads);
  const rotated = number("rope.dimension_count", headDim);
  if (rotated !== headDim)
    throw new InputError(
      `${path}: ${rotated} of a head's ${headDim} dimensions are rotated, which is not supported (all are)`,
    );
  const json = {
    model_type: "llama",
    vocab_size: weights.get("model.embed_tokens.weight")?.size(0) ?? 0,
    hidden_size: hidden,
    intermediate_size: number("feed_forward_length"),
    num_hidden_layers: number("block_count"),
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    head_dim: headDim,
    max_position_embeddings: number("context_length"),
    rms_norm_eps: Number(number("attention.layer_norm_rms_epsilon").toPrecision(6)),
    rope_theta: number("rope.freq_base", 10000),
    rope_scaling: ropeScaling(metadata, path),
    hidden_act: "silu",
    tie_word_embeddings: !weights.has("lm_head.weight"),
    attention_bias: weights.has("model.layers.0.self_attn.q_proj.bias"),
    bos_token_id: metadata.get("tokenizer.ggml.bos_token_id") ?? null,
    eos_token_id: tokenizer.eos,
  };
  return { json, weights, tokenizer };
}
