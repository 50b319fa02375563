import { type DType, dtypeBytes, dtypeName } from "./dtype.ts";
import { checked, TensorError } from "./error.ts";
import { native } from "./native.ts";
import { ops } from "./ops.ts";

/** Tensors made in each open scope, innermost scope last. */
const scopes: Tensor[][] = [];

/**
 * A libtorch tensor. The `scope` it was made in frees it; outside any scope it lives until `dispose()`.
 * All operators are in `ops`; the frequent ones are methods too.
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
  /** Returns the size of a dimension; a negative one counts from the end. @throws TensorError when there is none */
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

  /** Frees the tensor now. Using it afterwards is an error. */
  dispose(): void {
    native().free([this.handle]);
  }

  // ---- elementwise ----
  // `other` may be a number: the operator has an overload for it, and the cast satisfies the typings of the other one.
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

  // ---- dtype and device ----
  /** Converts to `dtype`; returns this tensor when it has that dtype already. */
  to(dtype: DType): Tensor {
    return ops.to(this, dtype);
  }
  /** Moves to `device`, such as "cpu", "cuda:0" or "mps"; returns this tensor when it is there already. */
  toDevice(device: string): Tensor {
    return ops.to(this, { dtype: null, layout: null, device, pin_memory: null });
  }

  // ---- values ----
  /** Returns the value of a tensor of one element. */
  item(): number {
    return checked(() => native().item(this.handle));
  }
  /** Returns the values, flat, in row-major order. Integers beyond 2^53 lose digits. */
  toArray(): number[] {
    if (this.dtype === "int64") return Array.from(new BigInt64Array(this.bytes()), Number);
    if (this.dtype === "float64") return Array.from(new Float64Array(this.bytes()));
    if (this.dtype === "int32") return Array.from(new Int32Array(this.bytes()));
    const single = ops.to(this, "float32");
    const values = Array.from(new Float32Array(single.bytes()));
    if (single !== this && scopes.length === 0) single.dispose();
    return values;
  }
  /** Returns a copy of the values' bytes in row-major order. */
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
  /** Gradient accumulated by `backward`, or null. The tensor belongs to the current scope. */
  get grad(): Tensor | null {
    const handle = checked(() => native().grad(this.handle));
    return handle === null ? null : new Tensor(handle);
  }
  set grad(value: Tensor | null) {
    checked(() => native().grad(this.handle, value === null ? null : value.handle));
  }
  /** Adds the gradient of this scalar to `grad` of every leaf that it was computed from. @param gradient for a tensor that is no scalar: the gradient of the loss with respect to it */
  backward(gradient?: Tensor, options: { retainGraph?: boolean } = {}): void {
    checked(() => native().backward(this.handle, gradient?.handle ?? null, options.retainGraph ?? false));
  }
}

/** Yields the tensors inside a value: in arrays, maps and plain objects at any depth. */
function* tensorsIn(value: unknown): Generator<Tensor> {
  if (value instanceof Tensor) yield value;
  else if (Array.isArray(value)) for (const item of value) yield* tensorsIn(item);
  else if (value instanceof Map) for (const item of value.values()) yield* tensorsIn(item);
  else if (typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) yield* tensorsIn(item);
}

/**
 * Runs `body`, then frees every tensor made in it, except the tensors in its result (also inside arrays, maps and plain
 * objects) and those passed to `keep`. Frees them too when `body` throws.
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

/** Removes the tensors in a value from their scopes: they live until `dispose()`. @returns the value */
export function keep<T>(value: T): T {
  for (const tensor of tensorsIn(value)) tensor.kept = true;
  return value;
}

/** Runs `body` without recording operations for `backward`, as `torch.no_grad`. */
export function noGrad<T>(body: () => T): T {
  const before = native().gradMode(false);
  try {
    return body();
  } finally {
    native().gradMode(before);
  }
}

/** Whether operations are recorded for `backward`: false within `noGrad`. */
export const gradEnabled = (): boolean => native().gradMode();

/** Returns the number of bytes of one element of a tensor. */
export const itemBytes = ({ dtype }: Tensor): number => dtypeBytes(dtype);
