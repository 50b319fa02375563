import { z } from "zod";
import { RemoteError } from "../data/errors.ts";
import type { Message } from "../data/records.ts";
import { postAll } from "./post.ts";

const reply = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().nullable() }) })).min(1),
});

export interface EndpointOptions {
  /** Address that `/chat/completions` comes after, such as `http://localhost:8000/v1`. */
  url: string;
  model: string;
  /** Sent as a bearer token. */
  key?: string | undefined;
  maxTokens: number;
  timeoutSeconds?: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Completions by an OpenAI-compatible server, in the order asked for.
 * @throws RemoteError when it cannot be reached, refuses, or answers what is no completion
 */
export async function completeAll(
  asked: readonly { prompt: readonly Message[]; temperature: number; seed: number }[],
  { url, model, key, maxTokens, timeoutSeconds = 120, signal, onProgress }: EndpointOptions,
): Promise<string[]> {
  const address = `${url.replace(/\/$/, "")}/chat/completions`;
  const bodies = asked.map(({ prompt, temperature, seed }) => ({
    model,
    messages: prompt,
    temperature,
    seed,
    max_tokens: maxTokens,
  }));
  const texts = await postAll(address, bodies, { timeoutSeconds, key, signal }, onProgress);
  return texts.map((text) => completionOf(text, address));
}

function completionOf(text: string, address: string): string {
  try {
    const [choice] = reply.parse(JSON.parse(text)).choices;
    return choice?.message.content ?? "";
  } catch {
    throw new RemoteError(`${address} answers what is no chat completion: ${text.slice(0, 300)}`);
  }
}
