import { type DType, dtypeBytes, dtypeCode, dtypeName } from "./dtype.ts";
import { TensorError } from "./error.ts";
import { native } from "./native.ts";
import { ops } from "./ops.ts";

/** Tensors made since each open scope began, innermost last. */
const scopes: Tensor[][] = [];

/**
 * A libtorch tensor. Its memory belongs to the `scope` it was made in; outside any scope it lives until `dispose()`.
 * Operators beyond these methods are in `ops`.
 */
export class Tensor {
  /** @internal */
  readonly handle: number;
  /** @internal Set for a tensor that outlives its scope. */
  kept = false;
  #shape: readonly number[] | undefined;
  #dtype: DType | undefined;
  #device = "";

  /** @internal */
  constructor(handle: number) {
    this.handle = handle;
    scopes.at(-1)?.push(this);
  }

  #describe(): void {
    if (this.#shape) return;
    const { shape, dtype, device } = checked(() => native().describe(this.handle));
    this.#shape = shape;
    this.#dtype = dtypeName(dtype);
    this.#device = device;
  }

  get shape(): readonly number[] {
    this.#describe();
    return this.#shape as readonly number[];
  }
  get dtype(): DType {
    this.#describe();
    return this.#dtype as DType;
  }
  get device(): string {
    this.#describe();
    return this.#device;
  }
  /** Number of elements. */
  get numel(): number {
    return this.shape.reduce((a, b) => a * b, 1);
  }
  /** Size of dimension `dim`; negative counts from the end. */
  size(dim: number): number {
    const size = this.shape.at(dim);
    if (size === undefined) throw new TensorError(`size(${dim}): the shape is (${this.shape.join(", ")})`);
    return size;
  }
  get isLive(): boolean {
    return native().isLive(this.handle);
  }

  toString(): string {
    return this.isLive ? `Tensor(${this.shape.join(", ")}) ${this.dtype}` : "Tensor(freed)";
  }

  /** Frees the tensor now. Using it later is an error. */
  dispose(): void {
    native().free([this.handle]);
  }

  // ---- elementwise ----
  // A number is as good as a tensor on the right: the schema has a form for each, the cast picks one for the compiler.
  add(other: Tensor | number): Tensor {
    return ops.add(this, other as Tensor);
  }
  sub(other: Tensor | number): Tensor {
    return ops.sub(this, other as Tensor);
  }
  mul(other: Tensor | number): Tensor {
    return ops.mul(this, other as Tensor);
  }
  div(other: Tensor | number): Tensor {
    return ops.div(this, other as Tensor);
  }
  pow(exponent: number): Tensor {
    return ops.pow(this, exponent);
  }
  neg(): Tensor {
    return ops.neg(this);
  }
  abs(): Tensor {
    return ops.abs(this);
  }
  exp(): Tensor {
    return ops.exp(this);
  }
  log(): Tensor {
    return ops.log(this);
  }
  sqrt(): Tensor {
    return ops.sqrt(this);
  }
  rsqrt(): Tensor {
    return ops.rsqrt(this);
  }
  square(): Tensor {
    return ops.square(this);
  }
  sigmoid(): Tensor {
    return ops.sigmoid(this);
  }
  logSigmoid(): Tensor {
    return ops.log_sigmoid(this);
  }
  clamp(min: number | null, max: number | null): Tensor {
    return ops.clamp(this, { min, max });
  }
  minimum(other: Tensor): Tensor {
    return ops.minimum(this, other);
  }
  maximum(other: Tensor): Tensor {
    return ops.maximum(this, other);
  }
  eq(other: Tensor | number): Tensor {
    return ops.eq(this, other as Tensor);
  }
  ne(other: Tensor | number): Tensor {
    return ops.ne(this, other as Tensor);
  }
  lt(other: Tensor | number): Tensor {
    return ops.lt(this, other as Tensor);
  }
  le(other: Tensor | number): Tensor {
    return ops.le(this, other as Tensor);
  }
  gt(other: Tensor | number): Tensor {
    return ops.gt(this, other as Tensor);
  }
  ge(other: Tensor | number): Tensor {
    return ops.ge(this, other as Tensor);
  }

  // ---- reductions ----
  sum(dim?: number, keepdim = false): Tensor {
    return dim === undefined ? ops.sum(this) : ops.sum(this, { dim: [dim], keepdim });
  }
  mean(dim?: number, keepdim = false): Tensor {
    return dim === undefined ? ops.mean(this) : ops.mean(this, { dim: [dim], keepdim });
  }
  amax(dim: number, keepdim = false): Tensor {
    return ops.amax(this, { dim: [dim], keepdim });
  }
  max(): Tensor {
    return ops.max(this);
  }
  min(): Tensor {
    return ops.min(this);
  }
  argmax(dim: number): Tensor {
    return ops.argmax(this, { dim });
  }
  cumsum(dim: number): Tensor {
    return ops.cumsum(this, dim);
  }
  softmax(dim: number): Tensor {
    return ops.softmax(this, dim);
  }
  logSoftmax(dim: number): Tensor {
    return ops.log_softmax(this, dim);
  }
  logsumexp(dim: number): Tensor {
    return ops.logsumexp(this, [dim]);
  }
  matmul(other: Tensor): Tensor {
    return ops.matmul(this, other);
  }

  // ---- shape ----
  view(...shape: number[]): Tensor {
    return ops.view(this, shape);
  }
  reshape(...shape: number[]): Tensor {
    return ops.reshape(this, shape);
  }
  transpose(a: number, b: number): Tensor {
    return ops.transpose(this, a, b);
  }
  unsqueeze(dim: number): Tensor {
    return ops.unsqueeze(this, dim);
  }
  squeeze(dim: number): Tensor {
    return ops.squeeze(this, dim);
  }
  expand(...shape: number[]): Tensor {
    return ops.expand(this, shape);
  }
  narrow(dim: number, start: number, length: number): Tensor {
    return ops.narrow(this, dim, start, length);
  }
  select(dim: number, index: number): Tensor {
    return ops.select(this, dim, index);
  }
  gather(dim: number, index: Tensor): Tensor {
    return ops.gather(this, dim, index);
  }
  scatterAdd(dim: number, index: Tensor, values: Tensor): Tensor {
    return ops.scatter_add(this, dim, index, values);
  }
  indexSelect(dim: number, index: Tensor): Tensor {
    return ops.index_select(this, dim, index);
  }
  split(sizes: readonly number[], dim = 0): Tensor[] {
    return ops.split_with_sizes(this, sizes, { dim });
  }
  contiguous(): Tensor {
    return ops.contiguous(this);
  }
  clone(): Tensor {
    return ops.clone(this);
  }
  detach(): Tensor {
    return ops.detach(this);
  }

  // ---- in place ----
  add_(other: Tensor | number): this {
    ops.add_(this, other as Tensor);
    return this;
  }
  mul_(other: Tensor | number): this {
    ops.mul_(this, other as Tensor);
    return this;
  }
  copy_(from: Tensor): this {
    ops.copy_(this, from);
    return this;
  }
  fill_(value: number): this {
    ops.fill_(this, value);
    return this;
  }

  // ---- type and place ----
  /** This tensor as `dtype`; itself when it is that already. */
  to(dtype: DType): Tensor {
    return ops.to(this, dtype);
  }
  /** This tensor on `device`, such as "cpu", "cuda:0" or "mps". */
  toDevice(device: string): Tensor {
    return ops.to(this, { dtype: null, layout: null, device, pin_memory: null });
  }

  // ---- values ----
  /** The value of a tensor of one element. */
  item(): number {
    return checked(() => native().item(this.handle));
  }
  /** The values, flat, in row order. Integers beyond 2^53 lose digits. */
  toArray(): number[] {
    if (this.dtype === "int64") return Array.from(new BigInt64Array(this.bytes()), Number);
    if (this.dtype === "float64") return Array.from(new Float64Array(this.bytes()));
    if (this.dtype === "int32") return Array.from(new Int32Array(this.bytes()));
    const single = ops.to(this, "float32");
    const values = Array.from(new Float32Array(single.bytes()));
    if (single !== this && scopes.length === 0) single.dispose();
    return values;
  }
  /** The raw bytes of the values, in row order, copied. */
  bytes(): ArrayBuffer {
    return checked(() => native().toBytes(this.handle));
  }

  // ---- autograd ----
  get requiresGrad(): boolean {
    return checked(() => native().requiresGrad(this.handle));
  }
  set requiresGrad(value: boolean) {
    checked(() => native().requiresGrad(this.handle, value));
  }
  /** The gradient accumulated by `backward`, a tensor of the current scope, or null. */
  get grad(): Tensor | null {
    const handle = checked(() => native().grad(this.handle));
    return handle === null ? null : new Tensor(handle);
  }
  set grad(value: Tensor | null) {
    checked(() => native().grad(this.handle, value === null ? null : value.handle));
  }
  /** Adds the gradient of this scalar (or of its product with `gradient`) to every leaf it came from. */
  backward(gradient?: Tensor, options: { retainGraph?: boolean } = {}): void {
    checked(() => native().backward(this.handle, gradient?.handle ?? null, options.retainGraph ?? false));
  }
}

function checked<T>(body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw new TensorError((error as Error).message.trim());
  }
}

/** The tensors inside a value: in arrays, maps and plain objects, however deep. */
function* tensorsIn(value: unknown): Generator_<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (Array.isArray(value)) for (const item of value) yield* tensorsIn(item);
  else if (value instanceof Map) for (const item of value.values()) yield* tensorsIn(item);
  else if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) yield* tensorsIn(item);
}
type Generator_<T> = globalThis.Generator<T>;

/**
 * Runs `body`, then frees every tensor it made except those in what it returns (arrays, maps and plain objects are
 * looked into) and those given to `keep`. Frees them too when `body` throws.
 * @throws TensorError when `body` is asynchronous: its tensors would be freed before it ends
 */
export function scope<T>(body: () => T): T {
  const made: Tensor[] = [];
  scopes.push(made);
  const survivors = new Set<Tensor>();
  try {
    const result = body();
    if (typeof (result as { then?: unknown } | null | undefined)?.then === "function")
      throw new TensorError(
        "scope: the body returned a promise. Await outside, and keep the scope synchronous",
      );
    for (const tensor of tensorsIn(result)) survivors.add(tensor);
    return result;
  } finally {
    scopes.pop();
    const outer = scopes.at(-1);
    const freed: number[] = [];
    for (const tensor of made) {
      if (tensor.kept) continue;
      if (survivors.has(tensor)) outer?.push(tensor);
      else freed.push(tensor.handle);
    }
    native().free(freed);
  }
}

/** Takes the tensors in a value out of every scope: they live until `dispose()`. */
export function keep<T>(value: T): T {
  for (const tensor of tensorsIn(value)) tensor.kept = true;
  return value;
}

/** Runs `body` without recording operations for `backward`. */
export function noGrad<T>(body: () => T): T {
  const before = native().gradMode(false);
  try {
    return body();
  } finally {
    native().gradMode(before);
  }
}

type TypedArray = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array | Uint16Array;

function fromTyped(data: TypedArray, shape: readonly number[], dtype: DType): Tensor {
  return new Tensor(
    checked(() =>
      native().fromBytes(
        data.buffer as ArrayBuffer,
        data.byteOffset,
        data.byteLength,
        [...shape],
        dtypeCode(dtype),
      ),
    ),
  );
}

/** A tensor of these numbers, in row order; its shape is (length) unless given. */
export function tensor(
  values: readonly number[] | Float32Array,
  options: { shape?: readonly number[]; dtype?: DType } = {},
): Tensor {
  const dtype = options.dtype ?? "float32";
  const shape = options.shape ?? [values.length];
  if (dtype === "int64") {
    const wrong = values.find((value) => !Number.isSafeInteger(value));
    if (wrong !== undefined) throw new TensorError(`tensor: ${wrong} is not an int64`);
    return fromTyped(BigInt64Array.from(values as readonly number[], BigInt), shape, dtype);
  }
  if (dtype === "float64") return fromTyped(Float64Array.from(values), shape, dtype);
  const single = fromTyped(Float32Array.from(values), shape, "float32");
  return dtype === "float32" ? single : single.to(dtype);
}

/** A tensor of raw bytes, little-endian, in row order; a copy. */
export function fromBytes(bytes: Uint8Array, shape: readonly number[], dtype: DType): Tensor {
  return fromTyped(bytes, shape, dtype);
}

export const zeros = (shape: readonly number[], dtype: DType = "float32"): Tensor =>
  ops.zeros(shape, { dtype });
export const full = (shape: readonly number[], value: number, dtype: DType = "float32"): Tensor =>
  ops.full(shape, value, { dtype });
/** 0, 1, … n − 1. */
export const arange = (n: number, dtype: DType = "int64"): Tensor => ops.arange(n, { dtype });
export const cat = (tensors: readonly Tensor[], dim = 0): Tensor => ops.cat(tensors, { dim });
export const stack = (tensors: readonly Tensor[], dim = 0): Tensor => ops.stack(tensors, { dim });
export const where = (condition: Tensor, a: Tensor, b: Tensor | number): Tensor =>
  ops.where(condition, a, b as Tensor);

/**
 * Tensors that read a file in place, mapped privately: writing to them never changes the file.
 * @throws TensorError when the file is missing or too short for an entry
 */
export function mapFile(
  path: string,
  entries: readonly { offset: number; shape: readonly number[]; dtype: DType }[],
): Tensor[] {
  const list = entries.map((e) => [e.offset, [...e.shape], dtypeCode(e.dtype)] as [number, number[], number]);
  return checked(() => native().mapFile(path, list)).map((handle) => new Tensor(handle));
}

/** A source of random numbers with a state that can be saved. The same seed gives the same numbers. */
export class Generator {
  /** @internal */
  readonly id: number;
  constructor(seed: number, device = "cpu") {
    this.id = checked(() => native().generator(seed, device));
  }
  get state(): Uint8Array {
    return checked(() => native().generatorState(this.id));
  }
  set state(bytes: Uint8Array) {
    checked(() => native().generatorState(this.id, bytes));
  }
  /** Frees its memory. Using it later is an error. */
  dispose(): void {
    native().freeGenerator(this.id);
  }
}

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

/** Whether operators are recorded for `backward` here: false within `noGrad`. */
export const gradEnabled = (): boolean => native().gradMode();

/**
 * What the engine can use of this machine. `cpu`: the level of instructions of our kernels, `libtorch`:
 * its name for that of its own; PLUMBLINE_CPU caps both. `fastBf16`:
 * whether bfloat16 is worth computing in on the CPU.
 */
export const capabilities = () => native().capabilities();

/** Bytes one element of the tensor takes. */
export const itemBytes = (of: Tensor): number => dtypeBytes(of.dtype);
