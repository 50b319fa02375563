import { native } from "./native.ts";

/**
 * Reports memory use: `handles` and `generators`: number alive; `bytes`: of the tensors' storage; `allocated`: bytes that
 * native code has allocated in all, where glibc counts them; `resident`: bytes of the process.
 */
export const memory = () => ({ ...native().memory(), resident: process.memoryUsage.rss() });

/** Returns freed memory to the operating system. Use it after a training, not within one. */
export const trim = (): void => native().trim();

/** Returns the number of threads that an operator may use; with `count`, sets it first. */
export const threads = (count?: number): number =>
  count === undefined ? native().threads() : native().threads(count);

/** Measures the peak rate of the instruction sets that this processor has, in GFLOP/s of one thread. */
export const peakRates = () => native().peakRates();

/**
 * Reports what the engine supports on this machine. `cpu`: instruction set of our kernels, the fastest one of this
 * processor; `libtorch`: its name for the instruction set that it uses. PLUMBLINE_CPU chooses both. `fastBf16`: whether our
 * kernels compute here: then models are faster in bfloat16.
 */
export const capabilities = () => native().capabilities();
