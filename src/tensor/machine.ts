import { native } from "./native.ts";

/**
 * Live tensor handles and generators, the bytes of the memory behind the tensors, what native code has allocated in all (where glibc counts
 * it), and the process's resident bytes.
 */
export const memory = () => ({ ...native().memory(), resident: process.memoryUsage.rss() });

/** Gives memory that was freed back to the system: worth it after a training, not within one. */
export const trim = (): void => native().trim();

/** How many threads an operator may use; with `count`, sets it. */
export const threads = (count?: number): number =>
  count === undefined ? native().threads() : native().threads(count);

/**
 * What the engine can use of this machine. `cpu`: the level of instructions of our kernels, `libtorch`:
 * its name for that of its own; PLUMBLINE_CPU caps both. `fastBf16`:
 * whether bfloat16 is worth computing in on the CPU.
 */
export const capabilities = () => native().capabilities();
