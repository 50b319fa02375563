import { z } from "zod";
import { RemoteError } from "../data/errors.ts";
import type { Message } from "../data/records.ts";
import { postAll } from "./post.ts";

const reply = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().nullable() }) })).min(1),
});

export interface EndpointOptions {
  /** Base URL of the API, such as `http://localhost:8000/v1`. */
  url: string;
  model: string;
  /** API key, sent as a bearer token. */
  key?: string | undefined;
  maxTokens: number;
  timeoutSeconds?: number;
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Requests chat completions from an OpenAI-compatible server. Returns one for each request, in their order.
 * @throws RemoteError if it cannot be reached, refuses a request, or answers without a completion
 */
export async function completeAll(
  requests: readonly { prompt: readonly Message[]; temperature: number; seed: number }[],
  { url, model, key, maxTokens, timeoutSeconds = 120, signal, onProgress }: EndpointOptions,
): Promise<string[]> {
  const address = `${url.replace(/\/$/, "")}/chat/completions`;
  const bodies = requests.map(({ prompt, temperature, seed }) => ({
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
    throw new RemoteError(
      `${address} answers with something that is not a chat completion: ${text.slice(0, 300)}`,
    );
  }
}
