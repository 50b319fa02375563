/**
 * Base class of errors whose message says what went wrong and what to do. The command line prints the message without a
 * stack trace and exits with 1.
 */
export class PlumblineError extends Error {
  override name = "PlumblineError";
}

/** Invalid input: a file, setting, folder or call that the user can correct. */
export class InputError extends PlumblineError {
  override name = "InputError";
}

/** Training diverged: the loss or its gradient is not finite. Earlier checkpoints are intact. */
export class DivergedError extends PlumblineError {
  override name = "DivergedError";
}

/** A remote server or external program cannot be reached, refuses a request, or answers with invalid data. */
export class RemoteError extends PlumblineError {
  override name = "RemoteError";
}

/** The disk is full. */
export class DiskError extends PlumblineError {
  override name = "DiskError";
}

/** Returns the `code` of a Node system error, such as `ENOENT`; undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  return error instanceof Error && "code" in error ? String(error.code) : undefined;
}

/** Converts an error met while writing `path`: a full disk becomes a `DiskError`, any other error is returned unchanged. */
export function diskError(error: unknown, path: string): unknown {
  if (errorCode(error) !== "ENOSPC") return error;
  return new DiskError(
    `${path}: the disk is full. Nothing that was already saved is lost; free some space and run again (a run: with --resume)`,
  );
}
