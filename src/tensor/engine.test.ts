import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { findAddon } from "../../native/locate.mjs";
import { capabilities, memory, ops, Rng } from "./index.ts";
import { cpuLevels } from "./native.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** Runs TypeScript, or the command line with `args`, in a process with these variables. */
function run(code: string | { args: string[] }, env: Record<string, string>) {
  const given =
    typeof code === "string"
      ? ["--input-type=module", "--eval", code]
      : [
          "--input-type=module",
          "--eval",
          'const { main } = await import("./src/cli/main.ts"); await main(["node", "plumbline", ...process.argv.slice(1)]);',
          ...code.args,
        ];
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", ...given], {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

describe("without an engine", () => {
  const env = { PLUMBLINE_CACHE: mkdtempSync(join(tmpdir(), "plumbline-empty-")) };
  const message = "the engine is not set up on this machine: run `npx plumbline-rlhf setup`";

  it("modules without tensors work, and the first use of a tensor says what to do", () => {
    const { stdout, stderr } = run(
      `const { intervalOf } = await import("./src/math/index.ts");
       await import("./src/index.ts");
       const { tensor } = await import("./src/tensor/index.ts");
       try { tensor([1]) } catch (error) { console.log(error.name + ": " + error.message) }`,
      env,
    );
    expect(stderr).toBe("");
    expect(stdout.trim()).toBe(`TensorError: ${message}`);
  });

  it("the command line shows its help, and that message without a stack trace", () => {
    expect(run({ args: ["ppo", "--help"] }, env).stdout).toContain("Usage: plumbline ppo");
    const { status, stderr } = run({ args: ["bench"] }, env);
    expect(stderr.trim().split("\n").at(-1)).toBe(`error: ${message}`);
    expect(stderr).not.toContain("    at ");
    expect(status).toBe(1);
  });
});

it("an engine that was set up with another PLUMBLINE_LIBTORCH is not found, and the error says why", () => {
  const { stderr } = run({ args: ["bench"] }, { PLUMBLINE_LIBTORCH: "/nowhere/torch" });
  expect(stderr.trim().split("\n").at(-1)).toMatch(
    /^error: the engine of this version is not set up.*PLUMBLINE_LIBTORCH and CXX, which have to be the same as at set-up$/,
  );
});

describe("PLUMBLINE_CPU", () => {
  const cpu =
    'import { capabilities } from "./src/tensor/index.ts"; console.log(JSON.stringify(capabilities()))';

  it.each([
    ["avx2", "AVX2"],
    ["none", "DEFAULT"],
  ])("caps the instructions of kernels and of libtorch at %s", (level, theirs) => {
    const capped = JSON.parse(run(cpu, { PLUMBLINE_CPU: level }).stdout);
    expect(capped.fastBf16).toBe(capped.cpu !== "none");
    expect(["none", level]).toContain(capped.cpu);
    expect(["DEFAULT", theirs]).toContain(capped.libtorch);
  });

  it("an unknown level is an error that lists the levels", () => {
    const { stderr } = run(cpu, { PLUMBLINE_CPU: "sse9" });
    expect(stderr).toContain("PLUMBLINE_CPU=sse9: use one of avx512bf16, avx512, avx2, none");
  });

  it.each(["avx2", "none"])("sampling works with %s", (level) => {
    const { stdout, stderr } = run(
      `import { generate } from "./src/index.ts";
       import { tinyModel } from "./test/tiny.ts";
       const model = tinyModel(1);
       const [{ tokens }] = await generate(model, [model.text.encode("a")], { maxTokens: 3 });
       console.log(tokens.length > 0);`,
      { PLUMBLINE_CPU: level },
    );
    expect(stderr).toBe("");
    expect(stdout.trim()).toBe("true");
  });
});

describe("the engine here", () => {
  it("is built from these sources, and says which instructions it uses", () => {
    expect(findAddon()).toBeDefined();
    const { cpu } = capabilities();
    expect(cpuLevels).toContain(cpu);
  });

  it("frees generators that are disposed", () => {
    const before = memory().generators;
    const generator = new Rng(1);
    ops.rand([1], { generator }).dispose();
    expect(memory().generators).toBe(before + 1);
    generator.dispose();
    expect(memory().generators).toBe(before);
    expect(() => generator.state).toThrow(/disposed/);
    expect(() => ops.rand([1], { generator })).toThrow(/disposed/);
    generator.dispose(); // a second time does nothing
    expect(memory().generators).toBe(before);
  });
});
