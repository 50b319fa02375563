/** What the engine refused, with the operator's name and what it was given; or why there is no engine. */
export class TensorError extends Error {
  override name = "TensorError";
}

/** The result of `body`; what the addon throws becomes a TensorError. */
export function checked<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw new TensorError((error as Error).message.trim());
  }
}
