import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Message, Tool } from "../src/data/records.ts";
import { encodeConversation, renderChat } from "../src/text/chat.ts";
import { Tokenizer, type TokenizerFiles } from "../src/text/tokenizer.ts";
import { goldenJson } from "./golden.ts";

/** A conversation to render: test/golden/conversations.json. */
export interface Conversation {
  name: string;
  messages: Message[];
  tools?: Tool[];
}

export const conversations = (): Conversation[] => goldenJson("conversations.json");

/** What a template makes of a conversation: see test/interop/render_templates.py. */
export interface Rendered {
  text?: string;
  prompt?: string;
  ids?: number[];
  mask?: number[];
  error?: string;
}

/** What looks like a special token in the source of a template. */
const specialToken = /<[|｜][^<>\s]{1,40}[|｜]>|<\/?[a-z_]{1,30}\|?>|<\|[a-z_]{1,30}>|\[\/?[A-Z_]{3,30}\]/g;

/** Reads a model folder's tokenizer, and adds the special tokens that templates name. */
export function tokenizerFor(folder: string, templates: readonly string[]): TokenizerFiles {
  const read = (name: string) => JSON.parse(readFileSync(join(folder, name), "utf8"));
  const tokenizer = read("tokenizer.json");
  const { chat_template: _, ...config } = read("tokenizer_config.json");
  const known = new Set(tokenizer.added_tokens.map(({ content }: { content: string }) => content));
  const found = new Set(templates.flatMap((source) => source.match(specialToken) ?? []));
  const first = Math.max(...Object.values<number>(tokenizer.model.vocab)) + 1;
  const added = [...found]
    .filter((content) => !known.has(content))
    .sort()
    .map((content, i) => ({
      ...{ id: first + i, content, special: true },
      ...{ single_word: false, lstrip: false, rstrip: false, normalized: false },
    }));
  return { tokenizer: { ...tokenizer, added_tokens: [...tokenizer.added_tokens, ...added] }, config };
}

/** Renders a conversation as `render_templates.py` does. `learned`: the ids that training learns, a list for each row. */
export function renderOurs(
  files: TokenizerFiles,
  template: string,
  { messages, tools }: Conversation,
): Rendered & { learned?: number[][] } {
  const tokenizer = new Tokenizer(files, { default: template });
  try {
    const text = renderChat(tokenizer, messages, { tools });
    const prompt = renderChat(tokenizer, messages.slice(0, -1), { tools, generationPrompt: true });
    const ids = tokenizer.encode(text);
    const rows = encodeConversation(tokenizer, messages, { tools });
    const [{ promptTokens, tokens, mask } = { promptTokens: [], tokens: [], mask: [] }] = rows;
    const whole = [...promptTokens.map(() => 0), ...(mask ?? tokens.map(() => 1))];
    return {
      ...{ text, prompt, ids },
      ...(tokenizer.template(tools).marksGeneration && { mask: ids.map((_, i) => whole[i] ?? 0) }),
      learned: rows.map(({ tokens, mask }) => tokens.filter((_, i) => mask?.[i] !== 0)),
    };
  } catch (error) {
    return { error: (error as Error).message };
  }
}
