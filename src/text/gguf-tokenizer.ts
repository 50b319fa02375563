import { InputError } from "../data/errors.ts";
import { Tokenizer } from "./tokenizer.ts";

type Metadata = ReadonlyMap<string, unknown>;

const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
const splitBy = (Regex: string) => ({
  type: "Split",
  pattern: { Regex },
  behavior: "Isolated",
  invert: false,
});
const llama3Words =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Pre-tokenizers by their name in llama.cpp. */
const preTokenizers: Record<string, unknown[]> = {
  default: [byteLevel],
  "gpt-2": [byteLevel],
  smollm: [{ type: "Digits", individual_digits: true }, byteLevel],
  "llama-bpe": [splitBy(llama3Words), { ...byteLevel, use_regex: false }],
};

/** Rebuilds a byte-level BPE tokenizer from GGUF metadata. */
export function tokenizerFromGguf(metadata: Metadata): Tokenizer {
  const model = metadata.get("tokenizer.ggml.model");
  if (model !== "gpt2")
    throw new InputError(
      `GGUF tokenizer "${model}" is not supported (byte-level BPE, "gpt2", is): use the model's safetensors folder`,
    );
  const pre = String(metadata.get("tokenizer.ggml.pre") ?? "default");
  const pretokenizers = preTokenizers[pre];
  if (!pretokenizers)
    throw new InputError(
      `GGUF pre-tokenizer "${pre}" is not supported (${Object.keys(preTokenizers).join(", ")} are)`,
    );
  const tokens = metadata.get("tokenizer.ggml.tokens") as string[];
  const types = (metadata.get("tokenizer.ggml.token_type") ?? []) as number[];
  const specialToken = (key: string) => tokens[Number(metadata.get(`tokenizer.ggml.${key}`) ?? -1)];
  // 3 = control, 4 = user defined.
  const added = tokens.flatMap((content, id) =>
    types[id] === 3 || types[id] === 4
      ? [
          {
            id,
            content,
            special: types[id] === 3,
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: false,
          },
        ]
      : [],
  );
  const eos = specialToken("eos_token_id");
  // Pad must differ from eos: readers that look for the last token before padding would drop the response's eos.
  const pad = [
    specialToken("padding_token_id"),
    specialToken("unknown_token_id"),
    specialToken("bos_token_id"),
    ...added.map((token) => token.content),
  ].find((text) => text !== undefined && text !== eos);
  return new Tokenizer({
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      normalizer: null,
      pre_tokenizer: { type: "Sequence", pretokenizers },
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
        ignore_merges: pre === "llama-bpe",
        vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
        merges: (metadata.get("tokenizer.ggml.merges") as string[]).map((merge) => merge.split(" ")),
      },
    },
    config: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: specialToken("bos_token_id") ?? null,
      eos_token: eos ?? null,
      pad_token: pad ?? null,
      unk_token: specialToken("unknown_token_id") ?? null,
      clean_up_tokenization_spaces: false,
      chat_template: metadata.get("tokenizer.chat_template") ?? null,
    },
  });
}
