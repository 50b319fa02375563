import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { Tokenizer as HfTokenizer } from "@huggingface/tokenizers";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { ChatTemplate, type Span } from "./template.ts";

/** The files of a Hugging Face tokenizer, parsed. */
export interface TokenizerFiles {
  tokenizer: Record<string, unknown>;
  config: Record<string, unknown>;
  /** generation_config.json, of which `eos_token_id` names the tokens that end a response. */
  generation?: Record<string, unknown>;
}

/** Chat template for models that have none. */
const plainTemplate =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

/** Tokens that end a turn or a text in models whose files do not say so. */
const endTokens = ["<|im_end|>", "<|eot_id|>", "<|endoftext|>", "</s>", "<end_of_turn>", "<turn|>"];

/** Most tokens of one character: the bytes of a code point. */
const longestCharacter = 4;

/** Where `part` ends in `text` if it follows `start`, white space apart, which some decoders remove; otherwise undefined. */
function endOf(text: string, start: number, part: string): number | undefined {
  if (text.startsWith(part, start)) return start + part.length;
  const skipped = /^\s*/.exec(text.slice(start, start + 64))?.[0].length ?? 0;
  return text.startsWith(part, start + skipped) ? start + skipped + part.length : undefined;
}

/** Converts text to token ids and back, with the special tokens and chat templates of a model. */
export class Tokenizer {
  readonly files: TokenizerFiles;
  /** Jinja sources of the model's chat templates by name, such as "default" and "tool_use". Empty if it has none. */
  readonly chatTemplates: Readonly<Record<string, string>>;
  /** The id appended to a finished response if the chat template ends it by no token. */
  readonly eos: number;
  /** Texts of the special tokens by name, such as "bos_token", for templates. */
  readonly specialTokens: Readonly<Record<string, string>>;
  #tokenizer: HfTokenizer;
  #stopIds: readonly number[] | undefined;
  #stopPattern: RegExp | undefined;
  /** Texts of single tokens, as far as they were needed. */
  readonly #texts = new Map<number, string>();
  readonly #compiled = new Map<string, ChatTemplate>();

  /** @param chatTemplates Default: those of tokenizer_config.json */
  constructor(files: TokenizerFiles, chatTemplates?: Readonly<Record<string, string>>) {
    this.files = files;
    this.#tokenizer = new HfTokenizer(withUnicodeDigits(files.tokenizer), files.config);
    this.chatTemplates = chatTemplates ?? readChatTemplates(files.config.chat_template);
    const special = Object.keys(files.config).flatMap((name) => {
      const text = name.endsWith("_token") ? tokenText(files.config[name]) : undefined;
      return text === undefined ? [] : [[name, text] as const];
    });
    this.specialTokens = { bos_token: "", eos_token: "", ...Object.fromEntries(special) };
    const eos = this.id(this.special("eos_token"));
    if (eos === undefined)
      throw new InputError("tokenizer_config.json names no eos_token that the vocabulary has");
    this.eos = eos;
  }

  /** Whether the model has a chat template. One without is given the plain one. */
  get hasChatTemplate(): boolean {
    return Object.keys(this.chatTemplates).length > 0;
  }

  /** Returns a tokenizer with a chat template: this one, or a copy with the plain template. */
  withChatTemplate(): Tokenizer {
    return this.hasChatTemplate ? this : new Tokenizer(this.files, { default: plainTemplate });
  }

  /**
   * Returns the chat template for a conversation.
   * @throws InputError if it is damaged, or there are several and none is the default
   */
  template(tools?: readonly unknown[]): ChatTemplate {
    const { chatTemplates: templates } = this;
    const source = (tools?.length ? templates.tool_use : undefined) ?? templates.default;
    if (source === undefined && this.hasChatTemplate)
      throw new InputError(
        `the model has chat templates named ${Object.keys(templates).join(", ")}, and none named "default": name one of them so in tokenizer_config.json`,
      );
    return this.#compile(source ?? plainTemplate);
  }

  #compile(source: string): ChatTemplate {
    let template = this.#compiled.get(source);
    if (!template) {
      try {
        template = new ChatTemplate(source);
      } catch (error) {
        throw new InputError(`the model's chat template is not valid Jinja: ${(error as Error).message}`);
      }
      this.#compiled.set(source, template);
    }
    return template;
  }

  /** Ids that end a response: end-of-turn and end-of-text tokens. */
  get stopIds(): readonly number[] {
    if (!this.#stopIds) {
      const usual = endTokens.map((text) => this.id(text));
      const { eos_token_id: configured } = this.files.generation ?? {};
      const ids = [this.eos, ...usual, ...[configured ?? []].flat(), this.#turnEnd()];
      this.#stopIds = [...new Set(ids.filter((id) => typeof id === "number"))];
    }
    return this.#stopIds;
  }

  /** The special token that the chat template writes after an assistant turn; undefined if it writes none. */
  #turnEnd(): number | undefined {
    const answer = "plumbline";
    let text: string;
    try {
      ({ text } = this.template().render({
        ...this.specialTokens,
        messages: [
          { role: "user", content: "?" },
          { role: "assistant", content: answer },
        ],
        tools: null,
        add_generation_prompt: false,
      }));
    } catch {
      return undefined; // a template that refuses this conversation
    }
    const at = text.lastIndexOf(answer);
    const [id] = at < 0 ? [] : this.encode(text.slice(at + answer.length).trimStart());
    return id !== undefined && this.addedTokens.has(id) ? id : undefined;
  }

  /** Texts of the tokens outside the vocabulary of words, such as special tokens, by id. */
  get addedTokens(): ReadonlyMap<number, string> {
    const { added_tokens: added } = this.files.tokenizer;
    return new Map(Array.isArray(added) ? added.map(({ id, content }) => [id, content]) : []);
  }

  /** Matches stop tokens and white space at the end of a text. The group `stop` is the first stop token. */
  get stopPattern(): RegExp {
    if (!this.#stopPattern) {
      const texts = this.stopIds.map((id) => this.decode([id], { keepSpecial: true }));
      const stop = texts.map((text) => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&")).join("|");
      this.#stopPattern = new RegExp(`\\s*(?<stop>${stop})(?:\\s|${stop})*$`, "u");
    }
    return this.#stopPattern;
  }

  /** Encodes text without adding special tokens. Special tokens written in the text are recognised. */
  encode(text: string): number[] {
    return text === "" ? [] : this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  decode(ids: readonly number[], options: { keepSpecial?: boolean } = {}): string {
    return ids.length ? this.#tokenizer.decode([...ids], { skip_special_tokens: !options.keepSpecial }) : "";
  }

  /**
   * Finds the characters of `text` that each of its tokens stands for. Tokens that are parts of one character have the
   * same span.
   */
  locate(text: string, ids: readonly number[]): Span[] {
    const spans: Span[] = [];
    let start = 0;
    for (let i = 0; i < ids.length; ) {
      let count = 0;
      let end: number | undefined;
      while (end === undefined && count < Math.min(longestCharacter, ids.length - i))
        end = endOf(text, start, this.#decodeExactly(ids.slice(i, i + ++count)));
      // A normaliser has changed this part of the text.
      end ??= Math.max(start, text.length - this.#decodeExactly(ids.slice(i + count)).length);
      for (; count > 0; count--, i++) spans.push({ start, end });
      start = end;
    }
    return spans;
  }

  #decodeExactly(ids: readonly number[]): string {
    const [only] = ids;
    const known = ids.length === 1 ? this.#texts.get(only as number) : undefined;
    if (known !== undefined) return known;
    const options = { skip_special_tokens: false, clean_up_tokenization_spaces: false };
    const text = ids.length ? this.#tokenizer.decode([...ids], options) : "";
    if (ids.length === 1) this.#texts.set(only as number, text);
    return text;
  }

  /** Returns the text of a special token such as "bos_token"; empty if there is none. */
  special(name: string): string {
    return this.specialTokens[name] ?? "";
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

/** Reads `chat_template` of tokenizer_config.json: one template, or a list of named ones. */
function readChatTemplates(value: unknown): Record<string, string> {
  if (typeof value === "string") return { default: value };
  if (value === undefined || value === null) return {};
  const templates = z.array(z.object({ name: z.string(), template: z.string() })).safeParse(value).data;
  if (!templates)
    throw new InputError(
      "tokenizer_config.json: chat_template: expected a string, or a list of {name, template}",
    );
  return Object.fromEntries(templates.map(({ name, template }) => [name, template]));
}

/** File with the default chat template, and folder with the others, which take precedence over tokenizer_config.json. */
const templateFile = "chat_template.jinja";
const templateFolder = "additional_chat_templates";

/**
 * Reads the tokenizer of a folder: tokenizer.json, tokenizer_config.json, generation_config.json, chat_template.jinja and
 * additional_chat_templates/*.jinja. Undefined without tokenizer.json.
 */
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
  const additional = join(folder, templateFolder);
  const files = existsSync(additional)
    ? readdirSync(additional).filter((name) => name.endsWith(".jinja"))
    : [];
  const paths = [
    ...(existsSync(join(folder, templateFile)) ? [["default", join(folder, templateFile)] as const] : []),
    ...files.map((name) => [basename(name, ".jinja"), join(additional, name)] as const),
  ];
  return new Tokenizer(
    {
      tokenizer: parse(path),
      config: parse(join(folder, "tokenizer_config.json")),
      generation: parse(join(folder, "generation_config.json")),
    },
    paths.length
      ? Object.fromEntries(paths.map(([name, file]) => [name, readFileSync(file, "utf8")]))
      : undefined,
  );
}
