import { createRequire } from "node:module";
import { findAddon } from "../../native/locate.mjs";

/** One argument of an operator, as libtorch's schema gives it. */
export interface Argument {
  name: string;
  type: string;
  sized: boolean;
  optional: boolean;
  named: boolean;
}

/** One overload of an operator. `id` is what `call` takes. */
export interface Schema {
  id: number;
  overload: string;
  arguments: Argument[];
  returns: string[];
  returnsSelf: boolean;
}

/** The addon's functions. Tensors are handles here: only this folder sees them. */
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
  generatorState(id: number, state?: Uint8Array): Uint8Array;
  threads(count?: number): number;
  trim(): void;
  memory(): { handles: number; bytes: number; allocated?: number };
  capabilities(): { cuda: boolean; mps: boolean; fastBf16: boolean };
}

function load(): Native {
  const path = findAddon();
  if (!path) throw new Error("the engine is not set up on this machine: run `npx plumbline setup`");
  // Huge pages for large tensors: measured, a quarter off a training step. libtorch reads this at its first allocation.
  process.env.THP_MEM_ALLOC_ENABLE ??= "1";
  // oneDNN and libtorch's layer over it each keep code for 1,024 shapes of matrices, and packed batches have a new shape
  // every time: 10 MB a training step, up to 0.7 GB. A pass over any of our models uses fewer than 64.
  process.env.ONEDNN_PRIMITIVE_CACHE_CAPACITY ??= "64";
  process.env.LRU_CACHE_CAPACITY ??= "64";
  return createRequire(import.meta.url)(path) as Native;
}

export const native = load();
