import { llama } from "../src/models/llama.ts";
import { Model } from "../src/models/model.ts";
import { keep, noGrad, ops, Rng, scope } from "../src/tensor/index.ts";

/** Sizes of published models; the smallest has half the width of SmolLM2-135M. */
const shapes = {
  "32M": { vocab: 49_152, hidden: 288, inner: 768, layers: 20, heads: 9, kvHeads: 3, tied: true },
  "135M": { vocab: 49_152, hidden: 576, inner: 1536, layers: 30, heads: 9, kvHeads: 3, tied: true },
  "360M": { vocab: 49_152, hidden: 960, inner: 2560, layers: 32, heads: 15, kvHeads: 5, tied: true },
  "1.1B": { vocab: 32_000, hidden: 2048, inner: 5632, layers: 22, heads: 32, kvHeads: 4, tied: false },
};

export type Size = keyof typeof shapes;
export const sizes = Object.keys(shapes) as Size[];

/** Makes a llama of this size with random weights, in bfloat16. */
export function randomLlama(size: Size): Model {
  const { vocab, hidden, inner, layers, heads, kvHeads, tied } = shapes[size];
  const json = {
    model_type: "llama",
    vocab_size: vocab,
    hidden_size: hidden,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: tied,
  };
  const all = llama.shapes(llama.schema.parse(json));
  if (!tied) all.set("lm_head.weight", [vocab, hidden]);
  const generator = new Rng(0);
  const make = (name: string, shape: number[]) => {
    const made = ops.empty(shape, { dtype: "bfloat16" });
    return keep(name.includes("norm") ? made.fill_(1) : ops.normal_(made, { std: 0.02, generator }));
  };
  const weights = noGrad(
    () => new Map([...all].map(([name, shape]) => [name, scope(() => make(name, shape))])),
  );
  return new Model(json, weights, "lm", undefined);
}

export const weightsOf = (model: Model): number =>
  [...model.parameters.values()].reduce((sum, { numel }) => sum + numel, 0);
