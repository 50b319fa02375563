import { InputError } from "../data/errors.ts";
import type { Demonstration, Message, Tool } from "../data/records.ts";
import type { Span } from "./template.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface ChatOptions {
  /** JSON schemas of the functions that the model may call. */
  tools?: readonly Tool[] | undefined;
}

function render(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  { tools, generationPrompt = false }: ChatOptions & { generationPrompt?: boolean },
) {
  try {
    return tokenizer.template(tools).render({
      ...tokenizer.specialTokens,
      messages: messages.map(nameReasoning),
      tools: tools?.length ? tools : null,
      documents: null,
      add_generation_prompt: generationPrompt,
    });
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`the model's chat template refused the conversation: ${(error as Error).message}`);
  }
}

/** Gives a message's reasoning under each name that templates read it by, as transformers does. */
function nameReasoning(message: Message): Message {
  const reasoning = message.reasoning_content ?? message.thinking ?? message.reasoning;
  return reasoning === undefined
    ? message
    : { thinking: reasoning, ...message, reasoning_content: reasoning };
}

/** Renders a conversation by the model's chat template. With `generationPrompt`, it ends with the start of an assistant turn. */
export const renderChat = (
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: ChatOptions & { generationPrompt?: boolean } = {},
): string => render(tokenizer, messages, options).text;

/** Encodes a prompt to token ids, ending with the start of an assistant turn. */
export const encodePrompt = (
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: ChatOptions = {},
): number[] => tokenizer.encode(renderChat(tokenizer, messages, { ...options, generationPrompt: true }));

/** A prompt and the response to it as token ids. */
export interface EncodedExample {
  promptTokens: number[];
  tokens: number[];
  /** 1 for each response token to learn, 0 for one that was given. Absent if all are to be learned. */
  mask?: number[];
}

/** Text of which some spans are to be learned. */
interface MarkedText {
  text: string;
  spans: Span[];
  /** Whether the last span ends with a stop token. */
  isEnded: boolean;
}

/**
 * Encodes a conversation for training on its assistant turns: the text of the chat template, and of each turn what the
 * model generates, up to and including the token that ends the turn. Where the template marks that with `generation`
 * blocks, these decide.
 *
 * One row holds all turns, unless the template writes a turn in another way once others follow (Qwen3 removes the
 * reasoning of earlier turns): then a turn is a row of its own, written as when it was the last one.
 * @param messages ends with an assistant turn
 * @param options.turns assistant turns to learn. Default: all
 * @throws InputError if the template refuses the conversation
 */
export function encodeConversation(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  { turns = "all", ...options }: ChatOptions & { turns?: "all" | "last" } = {},
): EncodedExample[] {
  return markTurns(tokenizer, messages, turns, options).map(({ text, spans, isEnded }) => {
    const { ids, ranges } = encodeSpans(tokenizer, text, spans);
    const first = Math.max(1, ranges[0]?.start ?? ids.length); // nothing predicts a first token
    const last = ranges.at(-1)?.end ?? ids.length;
    const mask = ids.map((_, i) => Number(ranges.some(({ start, end }) => i >= start && i < end)));
    const ending = isEnded ? [] : [tokenizer.eos]; // so that the model learns to stop
    const learned = [...mask.slice(first, last), ...ending.map(() => 1)];
    return {
      promptTokens: ids.slice(0, first),
      tokens: [...ids.slice(first, last), ...ending],
      ...(learned.includes(0) && { mask: learned }),
    };
  });
}

/** Finds the text of assistant turns in what the template writes. */
function markTurns(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  turns: "all" | "last",
  options: ChatOptions,
): MarkedText[] {
  const whole = render(tokenizer, messages, options);
  const indices = messages.flatMap(({ role }, i) => (role === "assistant" ? [i] : []));
  const last = indices.at(-1);
  if (last !== messages.length - 1)
    throw new InputError("the conversation does not end with an assistant turn");
  if (whole.generated.length) {
    const begin = turns === "last" ? findTurn(tokenizer, messages, whole.text, options).span.start : 0;
    const spans = whole.generated.filter(({ end }) => end > begin);
    return [{ text: whole.text, spans, isEnded: true }];
  }
  const texts: MarkedText[] = [];
  let shared: MarkedText | undefined; // the row that holds the turns which are written as in the whole conversation
  for (const i of turns === "last" ? [last] : indices) {
    const upTo = messages.slice(0, i + 1);
    const text = i === last ? whole.text : renderChat(tokenizer, upTo, options);
    const { span, isEnded } = findTurn(tokenizer, upTo, text, options);
    const isKept = whole.text.startsWith(text.slice(0, span.end));
    if (isKept && shared) {
      shared.spans.push(span);
      shared.isEnded = isEnded;
      continue;
    }
    const row = { text: isKept ? whole.text : text, spans: [span], isEnded };
    if (isKept) shared = row;
    texts.push(row);
  }
  return texts;
}

/** Finds the last turn of a conversation, an assistant's, in the text that the template writes of it. */
function findTurn(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  text: string,
  options: ChatOptions,
): { span: Span; isEnded: boolean } {
  const prompt = renderChat(tokenizer, messages.slice(0, -1), { ...options, generationPrompt: true });
  const start = commonLength(text, prompt);
  // What follows the end of the turn, such as a line break, the model does not generate.
  const trailing = tokenizer.stopPattern.exec(text.slice(start));
  const stop = trailing?.groups?.stop;
  const end =
    trailing && stop !== undefined
      ? start + trailing.index + trailing[0].indexOf(stop) + stop.length
      : text.length;
  return { span: { start, end }, isEnded: stop !== undefined };
}

/** Counts the characters that two texts begin with. */
function commonLength(a: string, b: string): number {
  if (a.startsWith(b)) return b.length;
  let length = 0;
  while (length < b.length && a[length] === b[length]) length++;
  return length;
}

/** Encodes text, and finds the ranges of tokens that overlap spans of its characters. */
function encodeSpans(
  tokenizer: Tokenizer,
  text: string,
  spans: readonly Span[],
): { ids: number[]; ranges: Span[] } {
  const ids = tokenizer.encode(text);
  const tokens = tokenizer.locate(text, ids);
  const ranges = spans.map(({ start, end }) => {
    const first = tokens.findIndex((token) => token.end > start);
    const after = tokens.findIndex((token) => token.start >= end);
    return { start: first < 0 ? ids.length : first, end: after < 0 ? ids.length : after };
  });
  return { ids, ranges };
}

/**
 * Encodes a demonstration: one row, or several as `encodeConversation` says.
 * @param turns assistant turns to learn of one with `learnPrompt`
 * @throws InputError if the response is empty, or the template refuses the conversation
 */
export function encodeDemonstration(
  tokenizer: Tokenizer,
  { prompt, completion, tools, learnPrompt = false }: Demonstration,
  turns: "all" | "last" = "all",
): EncodedExample[] {
  const answer: Message =
    typeof completion === "string" ? { role: "assistant", content: completion } : completion;
  if (answer.content === "" && !answer.tool_calls?.length)
    throw new InputError("the response is empty: there is nothing to learn from it");
  return encodeConversation(tokenizer, [...prompt, answer], { tools, turns: learnPrompt ? turns : "last" });
}

/**
 * Encodes a prompt and the response to it, to learn the response: see `encodeConversation`.
 * @throws InputError if the response is empty, or the template refuses the conversation
 */
export function encodeExample(
  tokenizer: Tokenizer,
  prompt: readonly Message[],
  response: string | Message,
): EncodedExample {
  const [row] = encodeDemonstration(tokenizer, { prompt: [...prompt], completion: response });
  return row as EncodedExample;
}

/** Encodes a prompt and a response to be scored. Unlike in `encodeExample`, the response may be empty. */
export function encodeAnswer(tokenizer: Tokenizer, prompt: readonly Message[], text: string): EncodedExample {
  const messages: Message[] = [...prompt, { role: "assistant", content: text }];
  return encodeConversation(tokenizer, messages, { turns: "last" })[0] as EncodedExample;
}
