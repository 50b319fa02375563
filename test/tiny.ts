import { llama } from "../src/models/llama.ts";
import { Model } from "../src/models/model.ts";
import { type DType, keep, noGrad, ops, Rng, scope } from "../src/tensor/index.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";

/** The 256 characters that stand for bytes in byte-level BPE, as GPT-2 assigns them. */
function byteCharacters(): string[] {
  const printable = (byte: number) =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

/** Vocabulary: all bytes, the word " yes", an end-of-turn token and a padding token. */
function tinyTokenizer(): Tokenizer {
  const tokens = [...byteCharacters(), "Ġy", "Ġye", "Ġyes", "<|im_end|>", "<|pad|>"];
  const special = (content: string) => ({
    id: tokens.indexOf(content),
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  });
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return new Tokenizer({
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [special("<|im_end|>"), special("<|pad|>")],
      normalizer: null,
      pre_tokenizer: byteLevel,
      post_processor: null,
      decoder: byteLevel,
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: [
          ["Ġ", "y"],
          ["Ġy", "e"],
          ["Ġye", "s"],
        ],
      },
    },
    config: { tokenizer_class: "PreTrainedTokenizerFast", eos_token: "<|im_end|>", pad_token: "<|pad|>" },
  });
}

/** Makes a random Llama of 2 layers with a tokenizer. */
export function tinyModel(seed = 0, config: Record<string, unknown> = {}, dtype: DType = "float32"): Model {
  const json = {
    model_type: "llama",
    vocab_size: 261,
    hidden_size: 32,
    intermediate_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    max_position_embeddings: 256,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
    ...config,
  };
  const generator = new Rng(seed);
  return noGrad(() =>
    scope(() => {
      const weights = [...llama.shapes(llama.schema.parse(json))].map(([name, shape]) => {
        const weight = name.includes("norm") ? ops.ones(shape) : ops.randn(shape, { generator }).mul(0.05);
        return [name, keep(weight.to(dtype))] as const;
      });
      return new Model(json, new Map(weights), "lm", tinyTokenizer());
    }),
  );
}
