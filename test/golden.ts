import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { type DType, type Tensor, tensor } from "../src/tensor/index.ts";

/** Returns the path of a golden fixture; test/golden/README.md says how each was made. */
export const goldenPath = (name: string): string => fileURLToPath(new URL(`golden/${name}`, import.meta.url));

export const goldenJson = (name: string) => JSON.parse(readFileSync(goldenPath(name), "utf8"));

export type Nested = number | readonly Nested[];

const shapeOf = (values: Nested): number[] =>
  typeof values === "number" ? [] : [values.length, ...shapeOf(values[0] as Nested)];
const flat = (values: Nested): number[] => (typeof values === "number" ? [values] : values.flatMap(flat));

export const of =
  (dtype: DType) =>
  (values: Nested): Tensor =>
    tensor(flat(values), { shape: shapeOf(values), dtype });
export const f64 = of("float64");
export const f32 = of("float32");
export const i64 = of("int64");

/** Computes the largest absolute difference of two lists of numbers. */
export function expectClose(actual: Tensor | null, expected: Tensor | Nested, tolerance: number): void {
  const got = (actual as Tensor).toArray();
  const wanted = typeof expected === "object" && "toArray" in expected ? expected.toArray() : flat(expected);
  expect(got.length).toBe(wanted.length);
  const worst = Math.max(...got.map((value, i) => Math.abs(value - (wanted[i] as number))));
  expect(worst).toBeLessThanOrEqual(tolerance);
}
