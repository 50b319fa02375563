import type { Message } from "../data/records.ts";
import { encodeAnswer, renderChat } from "./chat.ts";
import type { Tokenizer } from "./tokenizer.ts";

/**
 * Makes a chat template for a reward model: a conversation that it writes ends at the token where the score is read. Many
 * templates write a line break behind that token, where transformers would read the score; some write no end token.
 * @returns the tokenizer's default template if it ends there by itself or refuses an ordinary conversation
 */
export function scoringTemplate(tokenizer: Tokenizer): string | undefined {
  const { default: source } = tokenizer.chatTemplates;
  if (source === undefined) return undefined;
  const prompt: Message[] = [{ role: "user", content: "?" }];
  const text = "plumbline";
  let written: number[];
  let scored: number[];
  try {
    const { promptTokens, tokens } = encodeAnswer(tokenizer, prompt, text);
    scored = [...promptTokens, ...tokens];
    written = tokenizer.encode(renderChat(tokenizer, [...prompt, { role: "assistant", content: text }]));
  } catch {
    return source;
  }
  if (scored.length === written.length) return source;
  const surplus = tokenizer.decode(written.slice(scored.length), { keepSpecial: true });
  const whole = `{% set conversation %}${source}{% endset %}`;
  return scored.length > written.length
    ? `${whole}{{ conversation if add_generation_prompt else conversation + eos_token }}`
    : `${whole}{{ conversation[:-${[...surplus].length}] if conversation.endswith(${JSON.stringify(surplus)}) and not add_generation_prompt else conversation }}`;
}
