/** A mistake the user can mend: a bad file, setting or folder. The command line prints its message alone and exits 1. */
export class InputError extends Error {
  override name = "InputError";
}

/** The `code` of a Node system error, such as `ENOENT`; undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/**
 * What to throw for `error`, met while writing `path`: a full disk becomes an `InputError`, the rest passes unchanged.
 */
export function diskError(error: unknown, path: string): unknown {
  if (errorCode(error) !== "ENOSPC") return error;
  return new InputError(
    `${path}: the disk is full. Nothing that was already saved is lost; free some space and run again (a run: with --resume)`,
  );
}
