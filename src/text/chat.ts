import { Template } from "@huggingface/jinja";
import { InputError } from "../data/errors.ts";
import type { Message } from "../data/records.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** For models without a chat template of their own. */
const plainTemplate =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

const templates = new Map<string, Template>();

/** The conversation as the model's template writes it; with `generationPrompt`, up to where the assistant speaks. */
export function renderChat(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: { generationPrompt?: boolean } = {},
): string {
  const source = tokenizer.chatTemplate ?? plainTemplate;
  let template = templates.get(source);
  if (!template) {
    template = new Template(source);
    templates.set(source, template);
  }
  try {
    return template.render({
      messages,
      add_generation_prompt: options.generationPrompt ?? false,
      bos_token: tokenizer.special("bos_token"),
      eos_token: tokenizer.special("eos_token"),
    });
  } catch (error) {
    throw new InputError(`the model's chat template refused the conversation: ${(error as Error).message}`);
  }
}

/** Token ids of a prompt, up to where the assistant speaks. */
export function encodePrompt(tokenizer: Tokenizer, messages: readonly Message[]): number[] {
  return tokenizer.encode(renderChat(tokenizer, messages, { generationPrompt: true }));
}

/** A prompt and the response to it as token ids. */
export interface EncodedExample {
  promptTokens: number[];
  tokens: number[];
}

/**
 * Token ids of a prompt and of the response to it, kept apart: what is learned is the response. It is encoded on its own
 * and ends with the token that ends a turn, exactly as generation produces it, so no template can leave it empty or
 * merge tokens across the border.
 * @throws InputError when the response is empty
 */
export function encodeExample(
  tokenizer: Tokenizer,
  prompt: readonly Message[],
  response: string,
): EncodedExample {
  const ids = tokenizer.encode(response);
  if (!ids.length) throw new InputError("the response is empty: there is nothing to learn from it");
  return { promptTokens: encodePrompt(tokenizer, prompt), tokens: [...ids, tokenizer.eos] };
}

/** As `encodeExample`, for an answer to be scored: one that is empty is its end-of-turn token alone. */
export const encodeAnswer = (
  tokenizer: Tokenizer,
  prompt: readonly Message[],
  text: string,
): EncodedExample => ({
  promptTokens: encodePrompt(tokenizer, prompt),
  tokens: [...tokenizer.encode(text), tokenizer.eos],
});
