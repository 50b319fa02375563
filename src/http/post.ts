import pMap from "p-map";
import { RemoteError } from "../data/errors.ts";

/** Tries of a request: servers refuse for a moment when they are busy. */
const maxAttempts = 4;

export interface PostOptions {
  timeoutSeconds: number;
  /** Sent as a bearer token. */
  key?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * What a server answers to JSON that is posted to it; asked again where it is busy or cannot be reached.
 * @throws RemoteError when it refuses, or never answers
 */
export async function postJson(
  address: string,
  body: unknown,
  { timeoutSeconds, key, signal }: PostOptions,
): Promise<string> {
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
        body: JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, late]) : late,
      });
      const text = await answer.text();
      if (answer.ok) return text;
      problem = `${address} answers ${answer.status}: ${text.slice(0, 300)}`;
      if (answer.status < 500 && answer.status !== 429 && answer.status !== 408)
        throw new RemoteError(problem);
    } catch (error) {
      if (error instanceof RemoteError) throw error;
      signal?.throwIfAborted();
      const { cause, name } = error as Error & { cause?: Error };
      problem =
        name === "TimeoutError"
          ? `${address} did not answer in ${timeoutSeconds} s`
          : `${address} cannot be reached: ${cause?.message ?? (error as Error).message}`;
    }
    if (attempt === maxAttempts) throw new RemoteError(problem);
    await new Promise((resolve) => setTimeout(resolve, 250 * 2 ** attempt));
  }
}

/** Requests under way at once. */
const concurrency = 8;

/** `postJson` of each, some at a time, in their order. */
export function postAll(
  address: string,
  bodies: readonly unknown[],
  options: PostOptions,
  onProgress?: (done: number, total: number) => void,
): Promise<string[]> {
  let done = 0;
  const post = async (body: unknown) => {
    const text = await postJson(address, body, options);
    onProgress?.(++done, bodies.length);
    return text;
  };
  return pMap(bodies, post, { concurrency: concurrency });
}
