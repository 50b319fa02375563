import { mkdtempSync, readFileSync, renameSync, writeFileSync } from "node:fs";
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

it("a precision that models are not computed in is refused", () => {
  const folder = mkdtempSync(join(tmpdir(), "plumbline-open-"));
  tinyModel(0).save(folder);
  expect(() => openModel(folder, { dtype: "float16" })).toThrow(
    "dtype: models are not computed in float16, only in float32 or bfloat16",
  );
});

/** Saves a model, and applies `change` to its folder. */
function changed(change: (folder: string) => void): () => void {
  const folder = mkdtempSync(join(tmpdir(), "plumbline-open-"));
  tinyModel(0).save(folder);
  change(folder);
  return () => openModel(folder).dispose();
}
const changeConfig = (settings: object) =>
  changed((folder) => {
    const path = join(folder, "config.json");
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...settings }));
  });

it.each([
  ["yarn", { rope_scaling: { rope_type: "yarn", factor: 4 } }],
  ["dynamic", { rope_parameters: { type: "dynamic", factor: 2 } }],
])("a rope type that is not supported is refused before the weights are read: %s", (type, settings) => {
  expect(changeConfig(settings)).toThrow(
    `config.json: rope_scaling.rope_type: "${type}" is not supported (default, linear, llama3 are)`,
  );
});

it("a number of layers that no model has is refused at once", () => {
  expect(changeConfig({ num_hidden_layers: 2147483647 })).toThrow(/num_hidden_layers/);
});

const writeIndex = (map: unknown) =>
  changed((folder) => {
    renameSync(join(folder, "model.safetensors"), join(folder, "a.safetensors"));
    writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify(map));
  });

it.each(["../other/a.safetensors", "/etc/passwd", "..\\a.safetensors", "sub/a.safetensors"])(
  "an index that names %s is refused",
  (shard) => {
    expect(writeIndex({ weight_map: { "model.norm.weight": shard } })).toThrow(
      /is not the name of a \.safetensors file in its folder/,
    );
  },
);

it("an index that is none is refused", () => {
  expect(writeIndex([])).toThrow(/index\.json: has no weight_map/);
});

it("weights in pytorch_model.bin are refused with how to convert them", () => {
  const open = changed((folder) => {
    renameSync(join(folder, "model.safetensors"), join(folder, "pytorch_model.bin"));
  });
  expect(open).toThrow(/pytorch_model\.bin, which is not read.*save_pretrained/);
});
