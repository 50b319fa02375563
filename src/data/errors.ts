/**
 * An error that says what went wrong and what to do. The command line prints its message alone and exits with 1; its
 * class says of which kind it is.
 */
export class PlumblineError extends Error {
  override name = "PlumblineError";
}

/** Bad input: a file, a setting, a folder, a call. Mend it and run again. */
export class InputError extends PlumblineError {
  override name = "InputError";
}

/** The loss or its gradient is no longer a finite number. Checkpoints saved before are whole. */
export class DivergedError extends PlumblineError {
  override name = "DivergedError";
}

/** A server or a program that was asked cannot be reached, refuses, or answers nonsense. */
export class RemoteError extends PlumblineError {
  override name = "RemoteError";
}

/** The disk is full. */
export class DiskError extends PlumblineError {
  override name = "DiskError";
}

/** The `code` of a Node system error, such as `ENOENT`; undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/**
 * What to throw for `error`, met while writing `path`: a full disk becomes a `DiskError`, the rest passes unchanged.
 */
export function diskError(error: unknown, path: string): unknown {
  if (errorCode(error) !== "ENOSPC") return error;
  return new DiskError(
    `${path}: the disk is full. Nothing that was already saved is lost; free some space and run again (a run: with --resume)`,
  );
}
