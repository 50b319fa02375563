import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { cacheDir, emulated, findAddon } from "../../native/locate.mjs";
import { TensorError } from "./error.ts";

/** An argument in libtorch's schema of an operator. */
export interface Argument {
  name: string;
  type: string;
  /** Whether it is a list of fixed length, such as `int[2]`. */
  sized: boolean;
  /** Whether it has a default. */
  optional: boolean;
  /** Whether it can be given by name only. */
  named: boolean;
}

/** An overload of an operator. */
export interface Schema {
  /** First argument of `Native.call`. */
  id: number;
  overload: string;
  arguments: Argument[];
  returns: string[];
  /** Whether it returns its first argument, as in-place operators do. */
  returnsSelf: boolean;
}

/** Functions of the native addon. They take and return tensors as handles, which only this folder uses. */
interface Native {
  call(operator: number, ...values: unknown[]): unknown;
  free(handles: number[]): void;
  operatorNames(): string[];
  schemas(name: string): Schema[];
  fromBytes(buffer: ArrayBuffer, offset: number, length: number, shape: number[], dtype: number): number;
  toBytes(handle: number): ArrayBuffer;
  mapFile(path: string, entries: [offset: number, shape: number[], dtype: number][]): number[];
  describe(handle: number): { shape: number[]; dtype: number; device: string };
  item(handle: number): number;
  isLive(handle: number): boolean;
  requiresGrad(handle: number, value?: boolean): boolean;
  backward(handle: number, gradient: number | null, retainGraph: boolean): void;
  grad(handle: number, value?: number | null): number | null;
  gradMode(value?: boolean): boolean;
  generator(seed: number, device: string): number;
  freeGenerator(id: number): void;
  generatorState(id: number, state?: Uint8Array): Uint8Array;
  threads(count?: number): number;
  trim(): void;
  memory(): { handles: number; generators: number; bytes: number; allocated?: number };
  capabilities(): { cuda: boolean; mps: boolean; cpu: CpuLevel; libtorch: string; fastBf16: boolean };
  peakRates(): Partial<Record<CpuLevel, number>>;
}

/**
 * Instruction sets that PLUMBLINE_CPU may cap the engine at, the best first, with the settings that cap libtorch, oneDNN
 * and MKL.
 */
const levels = {
  avx512bf16: ["avx512", "AVX512_CORE_BF16", "AVX512"],
  avx512: ["avx512", "AVX512_CORE", "AVX512"],
  avx2: ["avx2", "AVX2", "AVX2"],
  neonbf16: [],
  neon: [],
  none: ["default", "SSE41", "SSE4_2"],
} as const;

/** All levels. */
export const cpuLevelNames = Object.keys(levels) as CpuLevel[];

/** The levels that processors of this kind may have; all of them where the addon emulates instructions. */
export const cpuLevels = cpuLevelNames.filter(
  (level) => emulated || level === "none" || level.startsWith("neon") === (process.arch === "arm64"),
);

/** Highest instruction set that the kernels use. */
export type CpuLevel = keyof typeof levels;

/** Returns the environment that caps libtorch's instruction sets by PLUMBLINE_CPU. @throws TensorError for an unknown value */
export function cappedEnvironment(): Record<string, string> {
  const cap = process.env.PLUMBLINE_CPU;
  if (!cap) return {};
  if (!(cpuLevels as string[]).includes(cap))
    throw new TensorError(`PLUMBLINE_CPU=${cap}: use one of ${cpuLevels.join(", ")}`);
  const [aten, onednn, mkl] = levels[cap as CpuLevel];
  if (!aten || emulated) return {}; // libtorch cannot emulate
  return { ATEN_CPU_CAPABILITY: aten, ONEDNN_MAX_CPU_ISA: onednn, MKL_ENABLE_INSTRUCTIONS: mkl };
}

/** Says why there is no engine. */
const notSetUp = (): string =>
  existsSync(cacheDir()) && readdirSync(cacheDir()).some((name) => name.startsWith("addon-"))
    ? "the engine of this version is not set up on this machine: run `npx plumbline-rlhf setup`. There is one of another version, or of other values of PLUMBLINE_LIBTORCH and CXX, which have to be the same as at set-up"
    : "the engine is not set up on this machine: run `npx plumbline-rlhf setup`";

/** Loads the addon with the environment that libtorch reads at its start. */
function load(): Native {
  const path = findAddon();
  if (!path) throw new TensorError(notSetUp());
  Object.assign(process.env, cappedEnvironment());
  // Huge pages for large tensors make a training step a quarter faster, measured. libtorch reads this at its first allocation.
  process.env.THP_MEM_ALLOC_ENABLE ??= "1";
  // oneDNN and libtorch's layer over it each cache generated code for 1,024 matrix shapes. Every packed batch has a new
  // shape, so the caches would grow by 10 MB per training step up to 0.7 GB. A pass over our models uses fewer than 64.
  process.env.ONEDNN_PRIMITIVE_CACHE_CAPACITY ??= "64";
  process.env.LRU_CACHE_CAPACITY ??= "64";
  boundSpinning();
  return createRequire(import.meta.url)(path) as Native;
}

/**
 * Bounds how long OpenMP's threads spin at a barrier before they sleep. libgomp's default of 300,000 turns keeps a core
 * busy with waiting whenever another process uses it (docs/log.md: "Beside other processes"). libgomp reads this when it
 * loads. OMP_WAIT_POLICY and GOMP_SPINCOUNT of the user's come first.
 */
function boundSpinning(): void {
  if (!process.env.OMP_WAIT_POLICY) process.env.GOMP_SPINCOUNT ??= "3000";
}

let loaded: Native | undefined;
/** Returns the addon, and loads it at the first call. @throws TensorError when `plumbline setup` has not built it */
export const native = (): Native => (loaded ??= load());
