import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as HfTokenizer } from "@huggingface/tokenizers";
import { InputError } from "../data/errors.ts";

/** The files of a Hugging Face tokenizer, parsed. */
export interface TokenizerFiles {
  tokenizer: Record<string, unknown>;
  config: Record<string, unknown>;
}

/** Converts text to token ids and back, with the special tokens and chat template of a model. */
export class Tokenizer {
  readonly files: TokenizerFiles;
  /** Jinja source of the model's chat template, or undefined. */
  readonly chatTemplate: string | undefined;
  /** Ids that end a response: end-of-turn and end-of-text tokens. */
  readonly stopIds: readonly number[];
  /** The id appended to a finished response. */
  readonly eos: number;
  #tokenizer: HfTokenizer;

  constructor(files: TokenizerFiles, chatTemplate?: string) {
    this.files = files;
    this.#tokenizer = new HfTokenizer(withUnicodeDigits(files.tokenizer), files.config);
    const template = files.config.chat_template;
    this.chatTemplate = chatTemplate ?? (typeof template === "string" ? template : undefined);
    const eosText = tokenText(files.config.eos_token);
    const eos = eosText === undefined ? undefined : this.#tokenizer.token_to_id(eosText);
    if (eos === undefined)
      throw new InputError("tokenizer_config.json names no eos_token that the vocabulary has");
    this.eos = eos;
    const ends = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>", "<end_of_turn>"]
      .map((text) => this.#tokenizer.token_to_id(text))
      .filter((id) => id !== undefined);
    this.stopIds = [...new Set([eos, ...ends])];
  }

  /** Encodes text without adding special tokens. Special tokens written in the text are recognised. */
  encode(text: string): number[] {
    return text === "" ? [] : this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  decode(ids: readonly number[], options: { keepSpecial?: boolean } = {}): string {
    return ids.length ? this.#tokenizer.decode([...ids], { skip_special_tokens: !options.keepSpecial }) : "";
  }

  /** Returns the text of a special token such as "bos_token", for templates; empty if there is none. */
  special(name: string): string {
    return tokenText(this.files.config[name]) ?? "";
  }

  /** Looks up the id of a token; undefined if the vocabulary does not have it. */
  id(text: string): number | undefined {
    return this.#tokenizer.token_to_id(text);
  }
}

/** Replaces "Digits" steps: the library matches only 0 to 9, the reference implementation every numeric character. */
function withUnicodeDigits<T>(step: T): T {
  if (Array.isArray(step)) return step.map(withUnicodeDigits) as T;
  if (typeof step !== "object" || step === null) return step;
  const { type, individual_digits, pretokenizers, pre_tokenizer } = step as Record<string, unknown>;
  if (type === "Digits") {
    const pattern = { Regex: individual_digits ? "\\p{N}" : "\\p{N}+" };
    return { type: "Split", pattern, behavior: "Isolated", invert: false } as T;
  }
  if (pretokenizers) return { ...step, pretokenizers: withUnicodeDigits(pretokenizers) };
  return pre_tokenizer ? { ...step, pre_tokenizer: withUnicodeDigits(pre_tokenizer) } : step;
}

function tokenText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === "string" ? content : undefined;
}

/** Reads tokenizer.json, tokenizer_config.json and chat_template.jinja of a folder; undefined without tokenizer.json. */
export function readTokenizer(folder: string): Tokenizer | undefined {
  const path = join(folder, "tokenizer.json");
  if (!existsSync(path)) return undefined;
  const parse = (file: string): Record<string, unknown> => {
    if (!existsSync(file)) return {};
    try {
      return JSON.parse(readFileSync(file, "utf8"));
    } catch (error) {
      throw new InputError(`${file}: not JSON: ${(error as Error).message}`);
    }
  };
  const template = join(folder, "chat_template.jinja");
  return new Tokenizer(
    { tokenizer: parse(path), config: parse(join(folder, "tokenizer_config.json")) },
    existsSync(template) ? readFileSync(template, "utf8") : undefined,
  );
}
