import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, vi } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import type * as tensor from "../tensor/index.ts";
import { openModel } from "./open.ts";

const fastBf16 = vi.hoisted(() => ({ value: false }));
vi.mock("../tensor/index.ts", async (original) => {
  const real = await original<typeof tensor>();
  return { ...real, capabilities: () => ({ ...real.capabilities(), cuda: true, fastBf16: fastBf16.value }) };
});

it.each([
  [false, "float32"],
  [true, "bfloat16"],
] as const)(
  "a model opens in what the CPU is fast in, also beside a GPU (kernels for it: %s)",
  (has, dtype) => {
    fastBf16.value = has;
    const folder = mkdtempSync(join(tmpdir(), "plumbline-open-"));
    tinyModel(0).save(folder);
    const model = openModel(folder);
    expect(model.dtype).toBe(dtype);
    model.dispose();
  },
);
