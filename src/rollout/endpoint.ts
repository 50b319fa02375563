import { z } from "zod";
import { InputError } from "../data/errors.ts";
import type { Message } from "../data/records.ts";

const reply = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string().nullable() }) })).min(1),
});

/** Requests under way at once, and tries of each: servers refuse for a moment when they are busy. */
const atOnce = 8;
const tries = 4;

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
 * @throws InputError when it cannot be reached, refuses, or answers what is no completion
 */
export async function completeAll(
  asked: readonly { prompt: readonly Message[]; temperature: number; seed: number }[],
  { url, model, key, maxTokens, timeoutSeconds = 120, signal, onProgress }: EndpointOptions,
): Promise<string[]> {
  const address = `${url.replace(/\/$/, "")}/chat/completions`;
  const texts = new Array<string>(asked.length);
  let [next, done] = [0, 0];
  const ask = async (i: number): Promise<string> => {
    const { prompt, temperature, seed } = asked[i] as (typeof asked)[number];
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      const late = AbortSignal.timeout(timeoutSeconds * 1000);
      let problem: string;
      try {
        const answer = await fetch(address, {
          method: "POST",
          headers: {
            "content-type": "application/json",
            ...(key !== undefined && { authorization: `Bearer ${key}` }),
          },
          body: JSON.stringify({ model, messages: prompt, temperature, seed, max_tokens: maxTokens }),
          signal: signal ? AbortSignal.any([signal, late]) : late,
        });
        const text = await answer.text();
        if (answer.ok) return completionOf(text, address);
        problem = `${address} answers ${answer.status}: ${text.slice(0, 300)}`;
        if (answer.status < 500 && answer.status !== 429 && answer.status !== 408)
          throw new InputError(problem);
      } catch (error) {
        if (error instanceof InputError) throw error;
        signal?.throwIfAborted();
        const { cause, name } = error as Error & { cause?: Error };
        problem =
          name === "TimeoutError"
            ? `${address} did not answer in ${timeoutSeconds} s`
            : `${address} cannot be reached: ${cause?.message ?? (error as Error).message}`;
      }
      if (attempt === tries) throw new InputError(problem);
      await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
    }
  };
  const work = async () => {
    while (next < asked.length) {
      const i = next++;
      texts[i] = await ask(i);
      onProgress?.(++done, asked.length);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, asked.length) }, work));
  return texts;
}

function completionOf(text: string, address: string): string {
  try {
    const [choice] = reply.parse(JSON.parse(text)).choices;
    return choice?.message.content ?? "";
  } catch {
    throw new InputError(`${address} answers what is no chat completion: ${text.slice(0, 300)}`);
  }
}
