import { z } from "zod";
import { embedding, rmsNorm, rotate } from "../nn/block.ts";
import { cat, ops, scope, type Tensor, tensor } from "../tensor/index.ts";
import { decodeBlock } from "../tensor/kernels.ts";
import { type Architecture, mostLayers, type Weights } from "./architecture.ts";
import type { Attend } from "./attention.ts";

const rope = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().optional(),
  factor: z.number().optional(),
  low_freq_factor: z.number().optional(),
  high_freq_factor: z.number().optional(),
  original_max_position_embeddings: z.number().optional(),
});

interface RopeSettings {
  rope_scaling?: z.output<typeof rope> | null | undefined;
  rope_parameters?: z.output<typeof rope> | null | undefined;
}

const ropeTypes = ["default", "linear", "llama3"];

const ropeType = ({ rope_scaling: scaling, rope_parameters: parameters }: RopeSettings): string => {
  const { rope_type, type } = { ...scaling, ...parameters };
  return rope_type ?? type ?? "default";
};

/** Settings in config.json that the llama family uses; Mistral adds `sliding_window`. */
const schema = z
  .looseObject({
    model_type: z.enum(["llama", "mistral"]),
    vocab_size: z.int().positive(),
    hidden_size: z.int().positive(),
    intermediate_size: z.int().positive(),
    num_hidden_layers: z.int().positive().max(mostLayers),
    num_attention_heads: z.int().positive(),
    num_key_value_heads: z.int().positive().optional(),
    head_dim: z.int().positive().nullish(),
    max_position_embeddings: z.int().positive().default(2048),
    rms_norm_eps: z.number().default(1e-6),
    rope_theta: z.number().optional(),
    // transformers 4 wrote rope_scaling, 5 writes rope_parameters.
    rope_scaling: rope.nullish(),
    rope_parameters: rope.nullish(),
    hidden_act: z.literal("silu").default("silu"),
    attention_bias: z.boolean().default(false),
    mlp_bias: z.boolean().default(false),
    tie_word_embeddings: z.boolean().default(false),
    sliding_window: z.int().positive().nullish(),
  })
  .refine((json) => ropeTypes.includes(ropeType(json)), {
    path: ["rope_scaling", "rope_type"],
    error: ({ input }) =>
      `"${ropeType(input as RopeSettings)}" is not supported (${ropeTypes.join(", ")} are)`,
  })
  .transform((json) => ({
    ...json,
    kvHeads: json.num_key_value_heads ?? json.num_attention_heads,
    headDim: json.head_dim ?? json.hidden_size / json.num_attention_heads,
  }));

type LlamaConfig = z.output<typeof schema>;

/** Computes the rotary frequency of each pair of channels, in radians per position. Llama 3.1 scales the low ones. */
export function inverseFrequencies(config: LlamaConfig): Float32Array {
  const parameters = { ...config.rope_scaling, ...config.rope_parameters };
  const theta = parameters.rope_theta ?? config.rope_theta ?? 10000;
  const type = ropeType(config);
  const half = config.headDim / 2;
  const plain = Float32Array.from(
    { length: half },
    (_, i) => 1 / Math.fround(theta ** ((2 * i) / config.headDim)),
  );
  if (type === "default") return plain;
  const factor = parameters.factor ?? 1;
  if (type === "linear") return plain.map((f) => f / factor);
  const low = parameters.low_freq_factor ?? 1;
  const high = parameters.high_freq_factor ?? 4;
  const original = parameters.original_max_position_embeddings ?? config.max_position_embeddings;
  return plain.map((frequency) => {
    const wavelength = (2 * Math.PI) / frequency;
    if (wavelength < original / high) return frequency;
    if (wavelength > original / low) return frequency / factor;
    const smooth = (original / wavelength - low) / (high - low);
    return ((1 - smooth) * frequency) / factor + smooth * frequency;
  });
}

/** Computes cosines and sines of the rotary angles for `rotate`: (tokens) → (tokens, headDim). */
function rotations(config: LlamaConfig, positions: Tensor): Tensor {
  const frequencies = tensor(inverseFrequencies(config)).toDevice(positions.device);
  const angles = positions.to("float32").unsqueeze(1).mul(frequencies);
  return cat([ops.cos(angles), ops.sin(angles)], -1);
}

/** Names of a block's norms and linear layers, in the order of `decodeBlock`. */
const blockParts = [
  "input_layernorm",
  ...["q_proj", "k_proj", "v_proj", "o_proj"].map((name) => `self_attn.${name}`),
  "post_attention_layernorm",
  ...["gate_proj", "up_proj", "down_proj"].map((name) => `mlp.${name}`),
];

/** Returns the weights of a block in the order of `decodeBlock`; undefined if a linear layer is not just a matrix. */
function blockWeights(weights: Weights, layer: string): Tensor[] | undefined {
  const all: Tensor[] = [];
  for (const part of blockParts) {
    const weight = weights.matrix(`${layer}.${part}`);
    if (!weight) return undefined;
    all.push(weight);
  }
  return all;
}

/** Llama 2 and 3, SmolLM2, Mistral: RMS norms, rotary positions, grouped heads, gated MLP. */
export const llama: Architecture<LlamaConfig> = {
  schema,
  prefix: "model.",
  embedding: "model.embed_tokens.weight",
  classNames: {
    llama: { lm: "LlamaForCausalLM", score: "LlamaForSequenceClassification" },
    mistral: { lm: "MistralForCausalLM", score: "MistralForSequenceClassification" },
  },
  linears: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
  transposed: false,
  dimensions: (config) => ({
    hidden: config.hidden_size,
    vocab: config.vocab_size,
    layers: config.num_hidden_layers,
    heads: config.num_attention_heads,
    kvHeads: config.kvHeads,
    headDim: config.headDim,
    context: config.max_position_embeddings,
    window: config.sliding_window ?? Number.POSITIVE_INFINITY,
    tied: config.tie_word_embeddings,
  }),

  shapes(config) {
    const { hidden_size: d, intermediate_size: ff, kvHeads, headDim, num_attention_heads: heads } = config;
    const shapes = new Map<string, number[]>([["model.embed_tokens.weight", [config.vocab_size, d]]]);
    for (let i = 0; i < config.num_hidden_layers; i++) {
      const matrix = (name: string, rows: number, columns: number, bias: boolean) => {
        shapes.set(`model.layers.${i}.${name}.weight`, [rows, columns]);
        if (bias) shapes.set(`model.layers.${i}.${name}.bias`, [rows]);
      };
      shapes.set(`model.layers.${i}.input_layernorm.weight`, [d]);
      matrix("self_attn.q_proj", heads * headDim, d, config.attention_bias);
      matrix("self_attn.k_proj", kvHeads * headDim, d, config.attention_bias);
      matrix("self_attn.v_proj", kvHeads * headDim, d, config.attention_bias);
      matrix("self_attn.o_proj", d, heads * headDim, config.attention_bias);
      shapes.set(`model.layers.${i}.post_attention_layernorm.weight`, [d]);
      matrix("mlp.gate_proj", ff, d, config.mlp_bias);
      matrix("mlp.up_proj", ff, d, config.mlp_bias);
      matrix("mlp.down_proj", d, ff, config.mlp_bias);
    }
    shapes.set("model.norm.weight", [d]);
    return shapes;
  },

  forward(config, weights: Weights, { ids, positions, outputIndices }, attend: Attend, run) {
    const norm = (x: Tensor, name: string) => rmsNorm(x, weights.get(`${name}.weight`), config.rms_norm_eps);
    const tokens = ids.size(0);
    let x = embedding(weights.get("model.embed_tokens.weight"), ids);
    const angles = rotations(config, positions);
    const last = config.num_hidden_layers - 1;
    const block = (x: Tensor, i: number) => {
      const cache = attend.cache?.(i);
      const plain = cache && blockWeights(weights, `model.layers.${i}`);
      return plain ? decodeBlock(x, plain, angles, cache, config.rms_norm_eps) : computeBlock(x, i);
    };
    // A scope for each layer frees its intermediate tensors as soon as the backward pass does not need them.
    const computeBlock = (x: Tensor, i: number) =>
      scope(() => {
        const layer = `model.layers.${i}`;
        const h = norm(x, `${layer}.input_layernorm`);
        const heads = (name: string) =>
          weights.linear(`${layer}.self_attn.${name}`, h).view(tokens, -1, config.headDim);
        const q = rotate(heads("q_proj"), angles);
        const k = rotate(heads("k_proj"), angles);
        const attended = attend(i, q, k, heads("v_proj"));
        const select = (z: Tensor) => (outputIndices && i === last ? z.indexSelect(0, outputIndices) : z);
        const y = select(x).add(weights.linear(`${layer}.self_attn.o_proj`, select(attended)));
        const m = norm(y, `${layer}.post_attention_layernorm`);
        const up = weights.linear(`${layer}.mlp.up_proj`, m);
        return y.add(
          weights.gatedLinear(`${layer}.mlp.down_proj`, weights.linear(`${layer}.mlp.gate_proj`, m), up),
        );
      });
    for (let i = 0; i < config.num_hidden_layers; i++) x = run((y) => block(y, i), x);
    return run((y) => norm(y, "model.norm"), x);
  },
};
