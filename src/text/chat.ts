import { Template } from "@huggingface/jinja";
import { InputError } from "../data/errors.ts";
import type { Message } from "../data/records.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** Chat template for models that have none. */
const plainTemplate =
  "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";

const templates = new Map<string, Template>();

/** Renders a conversation by the model's chat template. With `generationPrompt`, it ends with the start of an assistant turn. */
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

/** Encodes a prompt to token ids, ending with the start of an assistant turn. */
export function encodePrompt(tokenizer: Tokenizer, messages: readonly Message[]): number[] {
  return tokenizer.encode(renderChat(tokenizer, messages, { generationPrompt: true }));
}

/** A prompt and the response to it as token ids. */
export interface EncodedExample {
  promptTokens: number[];
  tokens: number[];
}

/**
 * Encodes a prompt and its response separately, because only the response's tokens are trained on. The response is encoded
 * on its own, not by the template, and ends with the end-of-turn token, exactly as generation produces it: no template can
 * drop it, and no token spans the border to the prompt.
 * @throws InputError if the response is empty
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

/** Encodes a prompt and a response to be scored. Unlike in `encodeExample`, the response may be empty. */
export const encodeAnswer = (
  tokenizer: Tokenizer,
  prompt: readonly Message[],
  text: string,
): EncodedExample => ({
  promptTokens: encodePrompt(tokenizer, prompt),
  tokens: [...tokenizer.encode(text), tokenizer.eos],
});
