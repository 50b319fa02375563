export { type DType, dtypeBytes } from "./dtype.ts";
export { TensorError } from "./error.ts";
export { operator, ops } from "./ops.ts";
export * from "./tensor.ts";
