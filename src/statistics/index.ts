export * from "./bootstrap.ts";
export * from "./calibration.ts";
export * from "./numbers.ts";
export * from "./random.ts";
