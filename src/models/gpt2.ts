import { z } from "zod";
import { embedding } from "../nn/block.ts";
import { ops, scope, type Tensor } from "../tensor/index.ts";
import { type Architecture, mostLayers } from "./architecture.ts";

const schema = z.looseObject({
  model_type: z.literal("gpt2"),
  vocab_size: z.int().positive(),
  n_embd: z.int().positive(),
  n_layer: z.int().positive().max(mostLayers),
  n_head: z.int().positive(),
  n_inner: z.int().positive().nullish(),
  n_positions: z.int().positive().default(1024),
  layer_norm_epsilon: z.number().default(1e-5),
  activation_function: z.enum(["gelu_new", "gelu"]).default("gelu_new"),
  scale_attn_weights: z.literal(true).default(true),
  scale_attn_by_inverse_layer_idx: z.literal(false).default(false),
  tie_word_embeddings: z.boolean().default(true),
});

type Gpt2Config = z.output<typeof schema>;

/** GPT-2 (Radford et al. 2019): learned positions, layer norms before each block, matrices stored (in, out). */
export const gpt2: Architecture<Gpt2Config> = {
  schema,
  prefix: "transformer.",
  embedding: "transformer.wte.weight",
  classNames: { gpt2: { lm: "GPT2LMHeadModel", score: "GPT2ForSequenceClassification" } },
  linears: ["c_attn", "c_proj", "c_fc"],
  transposed: true,
  dimensions: (config) => ({
    hidden: config.n_embd,
    vocab: config.vocab_size,
    layers: config.n_layer,
    heads: config.n_head,
    kvHeads: config.n_head,
    headDim: config.n_embd / config.n_head,
    context: config.n_positions,
    window: Number.POSITIVE_INFINITY,
    tied: config.tie_word_embeddings,
  }),

  shapes(config) {
    const d = config.n_embd;
    const ff = config.n_inner ?? 4 * d;
    const shapes = new Map<string, number[]>([
      ["transformer.wte.weight", [config.vocab_size, d]],
      ["transformer.wpe.weight", [config.n_positions, d]],
    ]);
    const set = (name: string, weight: number[]) => {
      shapes.set(`${name}.weight`, weight);
      shapes.set(`${name}.bias`, [weight.at(-1) as number]);
    };
    for (let i = 0; i < config.n_layer; i++) {
      const layer = `transformer.h.${i}`;
      set(`${layer}.ln_1`, [d]);
      set(`${layer}.attn.c_attn`, [d, 3 * d]);
      set(`${layer}.attn.c_proj`, [d, d]);
      set(`${layer}.ln_2`, [d]);
      set(`${layer}.mlp.c_fc`, [d, ff]);
      set(`${layer}.mlp.c_proj`, [ff, d]);
    }
    set("transformer.ln_f", [d]);
    return shapes;
  },

  forward(config, weights, { ids, positions, outputIndices }, attend, run) {
    const linear = (x: Tensor, name: string) => weights.linear(name, x);
    const norm = (x: Tensor, name: string) =>
      ops.layer_norm(x, [config.n_embd], {
        weight: weights.get(`${name}.weight`),
        bias: weights.get(`${name}.bias`),
        eps: config.layer_norm_epsilon,
      });
    const approximate = config.activation_function === "gelu_new" ? "tanh" : "none";
    const tokens = ids.size(0);
    const place = embedding(weights.get("transformer.wpe.weight"), positions);
    let x = embedding(weights.get("transformer.wte.weight"), ids).add(place);
    const last = config.n_layer - 1;
    const block = (x: Tensor, i: number) =>
      scope(() => {
        const layer = `transformer.h.${i}`;
        const qkv = linear(norm(x, `${layer}.ln_1`), `${layer}.attn.c_attn`).view(
          tokens,
          3,
          config.n_head,
          -1,
        );
        const attended = attend(i, qkv.select(1, 0), qkv.select(1, 1), qkv.select(1, 2));
        const select = (z: Tensor) => (outputIndices && i === last ? z.indexSelect(0, outputIndices) : z);
        const y = select(x).add(linear(select(attended), `${layer}.attn.c_proj`));
        const inner = ops.gelu(linear(norm(y, `${layer}.ln_2`), `${layer}.mlp.c_fc`), { approximate });
        return y.add(linear(inner, `${layer}.mlp.c_proj`));
      });
    for (let i = 0; i < config.n_layer; i++) x = run((y) => block(y, i), x);
    return run((y) => norm(y, "transformer.ln_f"), x);
  },
};
