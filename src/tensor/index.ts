export { type DType, dtypeBytes } from "./dtype.ts";
export { operator, ops } from "./ops.ts";
export * from "./tensor.ts";
