export * from "./create.ts";
export { type DType, dtypeBytes } from "./dtype.ts";
export { TensorError } from "./error.ts";
export * from "./machine.ts";
export { operator, ops } from "./ops.ts";
export * from "./rng.ts";
export * from "./tensor.ts";
