import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { goldenJson, goldenPath } from "../../../test/golden.ts";
import { InputError } from "../../data/errors.ts";
import { scope } from "../../tensor/index.ts";
import { readGguf } from "./gguf.ts";
import { readSafetensors } from "./safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "gguf-"));
afterAll(() => rmSync(folder, { recursive: true }));

const types = "f32 f16 bf16 q8_0 q4_0 q4_1 q5_0 q5_1 q2_k q3_k q4_k q5_k q6_k odd".split(" ");

describe("GGUF", () => {
  it.each(types)("dequantises %s as the reference does", (type) => {
    scope(() => {
      const expected = readSafetensors(goldenPath("quants.safetensors")).get(type);
      const found = readGguf(goldenPath("quants.gguf")).tensors.get(type);
      expect(found?.shape).toEqual(expected?.shape);
      // Both are float32 arithmetic on the same stored bytes: at most an order of rounding apart.
      const [a, b] = [found?.toArray() ?? [], expected?.toArray() ?? []];
      expect(b.length).toBeGreaterThan(4);
      for (let i = 0; i < b.length; i++)
        expect(Math.abs((a[i] as number) - (b[i] as number))).toBeLessThanOrEqual(
          1e-6 * Math.max(1, Math.abs(b[i] as number)),
        );
    });
  });

  it("reads metadata of every kind", () => {
    scope(() => {
      const { metadata } = readGguf(goldenPath("quants.gguf"));
      for (const [key, value] of Object.entries(goldenJson("quants.json")))
        expect(metadata.get(key)).toEqual(value);
    });
  });

  it("refuses a file cut at any place, and one that is not GGUF", () => {
    const whole = readFileSync(goldenPath("quants.gguf"));
    const path = join(folder, "cut.gguf");
    for (let share = 0; share < 1; share += 0.04) {
      writeFileSync(path, whole.subarray(0, Math.floor(whole.length * share)));
      expect(() => scope(() => readGguf(path)), `at ${share}`).toThrow(InputError);
    }
    // A number of tensors that no array has.
    const counted = Buffer.from(whole);
    counted.writeBigUInt64LE(2n ** 60n, 8);
    writeFileSync(path, counted);
    expect(() => scope(() => readGguf(path))).toThrow(InputError);
    writeFileSync(path, "not a model".repeat(100));
    expect(() => readGguf(path)).toThrow(/GGUF/);
  });
});
