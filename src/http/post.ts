import pMap from "p-map";
import { RemoteError } from "../data/errors.ts";

/** Attempts at a request. Busy servers refuse for a short time. */
const maxAttempts = 4;

export interface PostOptions {
  timeoutSeconds: number;
  /** API key, sent as a bearer token. */
  key?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Posts JSON and returns the text of the response. Retries with backoff if the server is busy or cannot be reached.
 * @throws RemoteError if it refuses the request, or all attempts fail
 */
export async function postJson(
  address: string,
  body: unknown,
  { timeoutSeconds, key, signal }: PostOptions,
): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    signal?.throwIfAborted();
    const timeout = AbortSignal.timeout(timeoutSeconds * 1000);
    let problem: string;
    try {
      const answer = await fetch(address, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
        },
        body: JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
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

/** Number of requests in flight at once. */
const concurrency = 8;

/**
 * Posts several bodies concurrently. Returns the responses in the order of `bodies`.
 * @throws RemoteError as `postJson` for the first that fails; the requests in flight are then aborted
 */
export async function postAll(
  address: string,
  bodies: readonly unknown[],
  options: PostOptions,
  onProgress?: (done: number, total: number) => void,
): Promise<string[]> {
  let done = 0;
  const failure = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, failure.signal]) : failure.signal;
  const post = async (body: unknown) => {
    const text = await postJson(address, body, { ...options, signal });
    onProgress?.(++done, bodies.length);
    return text;
  };
  try {
    return await pMap(bodies, post, { concurrency });
  } catch (error) {
    // A request that nobody waits for any more would keep the process alive until its timeout.
    failure.abort();
    throw error;
  }
}
