import { type DType, dtypeCode } from "./dtype.ts";
import { TensorError } from "./error.ts";
import { type Argument, native, type Schema } from "./native.ts";
import type { Ops } from "./ops.generated.ts";
import { Rng } from "./rng.ts";
import { Tensor } from "./tensor.ts";

/** Marks a value that an argument does not take. */
const mismatch = Symbol("mismatch");

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

/** Arguments given by place: those without a default, up to the first that may be null or must be named. */
export function positionalCount(args: readonly Argument[]): number {
  const end = args.findIndex((arg) => arg.optional || arg.named || arg.type.endsWith("?"));
  return end < 0 ? args.length : end;
}

interface Overload {
  schema: Schema;
  positional: number;
  encoders: Encode[];
  /** Place in the schema of each argument given by name. */
  named: Map<string, number>;
  /** Those of them that have no default. */
  required: string[];
}

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

/** The values of a call in schema order (after a first place left for the operator's id), or why they do not fit. */
function encode(overload: Overload, args: readonly unknown[]): unknown[] | string {
  const { positional, encoders, schema } = overload;
  if (args.length < positional || args.length > positional + 1) return `takes ${positional} values by place`;
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
  if (!isOptions(options)) return "takes its other values by name, in an object";
  for (const name of overload.required) if (options[name] === undefined) return `needs { ${name} }`;
  for (const name in options) {
    const place = overload.named.get(name);
    if (place === undefined) return `has no argument "${name}"`;
    if (options[name] === undefined) continue;
    const value = (encoders[place] as Encode)(options[name]);
    if (value === mismatch) return `"${name}" must be ${schema.arguments[place]?.type}`;
    values[place + 1] = value;
  }
  return values;
}

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

function wrap(type: string | undefined, value: unknown): unknown {
  if (value === null || value === undefined || type === undefined) return value;
  if (type.startsWith("Tensor")) {
    if (!Array.isArray(value)) return new Tensor(value as number);
    return value.map((handle) => (handle === null ? null : new Tensor(handle)));
  }
  return value;
}

function bind(name: string): (...args: unknown[]) => unknown {
  // Overloads that write to `out` come last: they are never meant by a call that does not name it.
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
      `${shown}: no form of this operator takes (${args.map(describe).join(", ")})\n${reasons.slice(0, 8).join("\n")}`,
    );
  };
}

/**
 * Any operator by its full name, such as `operator("mkldnn::_linear_pointwise")`: untyped, checked against its schema
 * at every call. @throws TensorError when libtorch has no such operator
 */
export function operator(name: string): (...args: unknown[]) => unknown {
  if (!native().schemas(name).length) throw new TensorError(`libtorch has no operator "${name}"`);
  return bind(name);
}

/** The operators of a namespace, each looked up and bound at its first use; what there is none of is undefined. */
export function operators<Typed extends object>(namespace: string): Typed {
  // Bound operators become properties of the object itself, so that the proxy behind it is asked once for each.
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
 * Every operator of libtorch's `aten` namespace. Arguments without a default come by place, the others by name in a
 * last object: `ops.sum(x, { dim: [1], keepdim: true })`.
 */
export const ops = operators<Ops>("aten");
