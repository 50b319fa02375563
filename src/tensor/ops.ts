import { type DType, dtypeCode } from "./dtype.ts";
import { TensorError } from "./error.ts";
import { type Argument, native, type Schema } from "./native.ts";
import type { Ops } from "./ops.generated.ts";
import { Rng } from "./rng.ts";
import { Tensor } from "./tensor.ts";

/** Result of an encoder for a value of the wrong type. */
const mismatch = Symbol("mismatch");

/** Converts a JavaScript value to what the addon takes, or returns `mismatch`. */
type Encode = (value: unknown) => unknown;

const isInteger: Encode = (value) => (Number.isInteger(value) ? value : mismatch);

const encoders: Record<string, Encode> = {
  Tensor: (value) => (value instanceof Tensor ? value.handle : mismatch),
  int: isInteger,
  float: (value) => (typeof value === "number" ? value : mismatch),
  Scalar: (value) => (typeof value === "number" || typeof value === "boolean" ? value : mismatch),
  bool: (value) => (typeof value === "boolean" ? value : mismatch),
  str: (value) => (typeof value === "string" ? value : mismatch),
  ScalarType: (value) => (typeof value === "string" ? dtypeCode(value as DType) : mismatch),
  Device: (value) => (typeof value === "string" ? value : mismatch),
  Generator: (value) => (value instanceof Rng ? value.id : mismatch),
  Layout: isInteger,
  MemoryFormat: isInteger,
};

/** Returns the encoder of a schema's type. @param sized whether it is a list of fixed length */
function encoder(type: string, sized: boolean): Encode {
  if (type.endsWith("?")) {
    const inner = encoder(type.slice(0, -1), sized);
    return (value) => (value === null ? null : inner(value));
  }
  if (type.endsWith("[]")) {
    const inner = encoder(type.slice(0, -2), false);
    return (value) => {
      // A sized list such as `int[2] stride` takes one number for all of them.
      if (!Array.isArray(value)) return sized ? inner(value) : mismatch;
      const encoded = new Array(value.length);
      for (let i = 0; i < value.length; i++) {
        encoded[i] = inner(value[i]);
        if (encoded[i] === mismatch) return mismatch;
      }
      return encoded;
    };
  }
  return encoders[type] ?? (() => mismatch);
}

/** Counts the positional arguments: those without a default, up to the first that may be null or must be named. */
export function positionalCount(args: readonly Argument[]): number {
  const end = args.findIndex((arg) => arg.optional || arg.named || arg.type.endsWith("?"));
  return end < 0 ? args.length : end;
}

interface Overload {
  schema: Schema;
  positional: number;
  encoders: Encode[];
  /** Index in the schema of each argument given by name. */
  named: Map<string, number>;
  /** Names of the arguments given by name that have no default. */
  required: string[];
}

/** Prepares the encoders of an overload. */
function compile(schema: Schema): Overload {
  const positional = positionalCount(schema.arguments);
  const rest = schema.arguments.slice(positional);
  return {
    schema,
    positional,
    encoders: schema.arguments.map((arg) => encoder(arg.type, arg.sized)),
    named: new Map(rest.map((arg, i) => [arg.name, positional + i])),
    required: rest.filter((arg) => !arg.optional).map((arg) => arg.name),
  };
}

function isOptions(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** Encodes the arguments of a call: the overload's id, then the values in schema order. Returns a message if they do not fit. */
function encode(overload: Overload, args: readonly unknown[]): unknown[] | string {
  const { positional, encoders, schema } = overload;
  if (args.length < positional || args.length > positional + 1)
    return `takes ${positional} positional arguments`;
  const values = new Array(positional + 1);
  values[0] = schema.id;
  for (let i = 0; i < positional; i++) {
    const value = (encoders[i] as Encode)(args[i]);
    if (value === mismatch) return `"${schema.arguments[i]?.name}" must be ${schema.arguments[i]?.type}`;
    values[i + 1] = value;
  }
  if (args.length === positional) {
    return overload.required.length ? `needs { ${overload.required.join(", ")} }` : values;
  }
  const options = args[positional];
  if (!isOptions(options)) return "takes its other arguments by name, in an object";
  for (const name of overload.required) if (options[name] === undefined) return `needs { ${name} }`;
  for (const name in options) {
    const index = overload.named.get(name);
    if (index === undefined) return `has no argument "${name}"`;
    if (options[name] === undefined) continue;
    const value = (encoders[index] as Encode)(options[name]);
    if (value === mismatch) return `"${name}" must be ${schema.arguments[index]?.type}`;
    values[index + 1] = value;
  }
  return values;
}

/** Describes an argument for an error message. */
function describe(value: unknown): string {
  if (value instanceof Tensor) return value.toString();
  if (value instanceof Rng) return "Generator";
  if (Array.isArray(value))
    return `[${value.slice(0, 8).map(describe).join(", ")}${value.length > 8 ? ", …" : ""}]`;
  if (isOptions(value))
    return `{ ${Object.entries(value)
      .map(([k, v]) => `${k}: ${describe(v)}`)
      .join(", ")} }`;
  return typeof value === "string" ? JSON.stringify(value) : String(value);
}

/** Wraps the handles of a result in tensors. */
function wrap(type: string | undefined, value: unknown): unknown {
  if (value === null || value === undefined || type === undefined) return value;
  if (type.startsWith("Tensor")) {
    if (!Array.isArray(value)) return new Tensor(value as number);
    return value.map((handle) => (handle === null ? null : new Tensor(handle)));
  }
  return value;
}

/** Makes a function that calls the first overload of an operator whose schema the arguments fit. */
function bind(name: string): (...args: unknown[]) => unknown {
  // Overloads that write to `out` come last: only a call that names `out` should reach them.
  const overloads = native()
    .schemas(name)
    .map(compile)
    .sort((a, b) => Number(a.named.has("out")) - Number(b.named.has("out")));
  const shown = name.replace(/^aten::/, "");
  return (...args) => {
    const reasons: string[] = [];
    for (const overload of overloads) {
      const values = encode(overload, args);
      if (typeof values === "string") {
        reasons.push(`  ${shown}${overload.schema.overload ? `.${overload.schema.overload}` : ""} ${values}`);
        continue;
      }
      let result: unknown;
      try {
        result = native().call(...(values as [number, ...unknown[]]));
      } catch (error) {
        throw new TensorError(
          `${shown}: ${(error as Error).message.trim()}\n  given ${args.map(describe).join(", ")}`,
        );
      }
      const { returns, returnsSelf } = overload.schema;
      if (returnsSelf) return args[0];
      return returns.length > 1
        ? (result as unknown[]).map((value, i) => wrap(returns[i], value))
        : wrap(returns[0], result);
    }
    throw new TensorError(
      `${shown}: no overload of this operator takes (${args.map(describe).join(", ")})\n${reasons.slice(0, 8).join("\n")}`,
    );
  };
}

/**
 * Returns an operator by its full name, such as `operator("mkldnn::_linear_pointwise")`. It is untyped; its arguments are
 * checked against its schema at every call.
 * @throws TensorError when libtorch has no such operator
 */
export function operator(name: string): (...args: unknown[]) => unknown {
  if (!native().schemas(name).length) throw new TensorError(`libtorch has no operator "${name}"`);
  return bind(name);
}

/** Returns the operators of a namespace as an object. Each is looked up at its first use; a missing one is undefined. */
export function operators<Typed extends object>(namespace: string): Typed {
  // Bound operators become properties of the object, so that the proxy behind it is used once for each.
  const unbound = new Proxy(
    {},
    {
      get(_, name) {
        const full = `${namespace}::${String(name)}`;
        if (typeof name === "symbol" || !native().schemas(full).length) return undefined;
        const value = bind(full);
        Object.defineProperty(bound, name, { value, enumerable: true });
        return value;
      },
    },
  );
  const bound = Object.create(unbound) as Typed;
  return bound;
}

/**
 * The operators of libtorch's `aten` namespace. Arguments without a default are positional; the others go by name in a
 * last object: `ops.sum(x, { dim: [1], keepdim: true })`.
 */
export const ops = operators<Ops>("aten");
