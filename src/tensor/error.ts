/** Error of the engine: an operator rejected its arguments, or the engine is not built on this machine. */
export class TensorError extends Error {
  override name = "TensorError";
}

/** Runs `body`. Errors of the native addon are thrown as TensorError. */
export function checked<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw new TensorError((error as Error).message.trim());
  }
}
