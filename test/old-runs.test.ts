import { createHash } from "node:crypto";
import { cpSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { readSafetensors } from "../src/models/files/safetensors.ts";
import { newestCheckpoint } from "../src/run/run.ts";
import { scope, type Tensor } from "../src/tensor/index.ts";
import { jsonLines, plumbline, set } from "./cli.ts";
import { settings } from "./fixtures/run-settings.ts";

const fixture = fileURLToPath(new URL("fixtures/runs", import.meta.url));
const inputs = ["model", "data", "policy", "reward", "prompts"];

function resume(stage: string, cwd: string) {
  const all = Object.entries(settings[stage] as object);
  const paths = all.filter(([name]) => inputs.includes(name)).flatMap(([name, path]) => [`--${name}`, path]);
  const rest = set(Object.fromEntries(all.filter(([name]) => !inputs.includes(name))));
  return plumbline([stage, "--run", stage, "--resume", "--dtype", "float32", ...paths, ...rest], { cwd });
}

const copy = (): string => {
  const folder = mkdtempSync(join(tmpdir(), "old-runs-"));
  cpSync(fixture, folder, { recursive: true });
  return folder;
};

/** Computes the largest difference between the weights of two files. */
const worst = (a: string, b: string): number =>
  scope(() => {
    const other = readSafetensors(b);
    const differences = [...readSafetensors(a)].map(([name, weight]) =>
      weight
        .sub(other.get(name) as Tensor)
        .abs()
        .max()
        .item(),
    );
    return Math.max(...differences);
  });

describe("a run that commit 55d086d stopped half way", () => {
  it.each(Object.keys(settings))("%s is resumed and ends as it did there", async (stage) => {
    const folder = copy();
    const { code, stderr } = await resume(stage, folder);
    expect(code, stderr).toBe(0);
    const { dir, step } = newestCheckpoint(join(folder, stage)) as { dir: string; step: number };
    expect(step).toBe(6);
    // Six steps at a rate of 1e-3 move a weight by up to 6e-3. The same kernels give the same bits; those of another
    // processor add in another order, which Adam makes up to 1e-4 of where a gradient is near 0.
    expect(
      worst(join(dir, "model.safetensors"), join(fixture, "expected", `${stage}.safetensors`)),
    ).toBeLessThan(3e-4);
    const steps = jsonLines(readFileSync(join(folder, stage, "events.jsonl"), "utf8"))
      .filter(({ type }) => type === "step")
      .map(({ step }) => step);
    expect(steps).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("is refused when its data changed since it began", async () => {
    const folder = copy();
    const file = join(folder, "sft", "run.json");
    // Runs of that commit have no hashes; this is what one of today would have.
    const run = JSON.parse(readFileSync(file, "utf8"));
    const hash = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    const data = join(folder, "demonstrations.jsonl");
    writeFileSync(file, JSON.stringify({ ...run, format: 2, data: { data: hash(readFileSync(data)) } }));
    writeFileSync(data, readFileSync(data, "utf8").split("\n").slice(1).join("\n"));
    const { code, stderr } = await resume("sft", folder);
    expect(code).toBe(1);
    expect(stderr).toMatch(/sft: data changed since the run began/);
  });

  it("is refused when it is of a newer version than the program", async () => {
    const folder = copy();
    const file = join(folder, "sft", "run.json");
    writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), format: 1000 }));
    const { code, stderr } = await resume("sft", folder);
    expect(code).toBe(1);
    expect(stderr).toMatch(/run\.json: the run has format 1000.*newer.*update plumbline/);
  });
});
