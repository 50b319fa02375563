// Runs the tests of code that uses kernels once for each instruction set: capped by PLUMBLINE_CPU, and where this
// processor has no AVX-512 bf16, with its kernels emulated (native/emulate.h). `npm run test:cpu`.
import { spawnSync } from "node:child_process";
import { type CpuLevel, native } from "../src/tensor/native.ts";

const kernels = ["src/nn", "src/models/attention.test.ts", "src/stages/ppo/sampled-states.test.ts"];
const all = [
  ...kernels,
  "src/batch",
  "src/math",
  "src/models",
  "src/rollout",
  "src/tensor",
  "test/ppo.test.ts",
];

const { cpu, fastBf16 } = native().capabilities();

function run(command: string, args: readonly string[], env: Record<string, string>): void {
  const { status } = spawnSync(command, args, { stdio: "inherit", env: { ...process.env, ...env } });
  if (status !== 0) process.exitCode = 1;
}

function test(level: CpuLevel, files: readonly string[], env: Record<string, string> = {}): void {
  console.log(`\ninstructions: ${level}${env.PLUMBLINE_EMULATE ? ", emulated" : ""}`);
  run("npx", ["vitest", "run", ...files], { PLUMBLINE_CPU: level, ...env });
}

const emulate = { PLUMBLINE_EMULATE: "1" };
run(process.execPath, ["scripts/setup.mjs"], emulate);
if (fastBf16) {
  test("avx512bf16", all);
  // The emulation that other machines use is tested too where the kernels run natively.
  test("avx512bf16", kernels, emulate);
} else test("avx512bf16", all, emulate);
if (cpu === "none") console.log("\ninstructions: avx2 skipped, this processor has none of it");
else test("avx2", all);
test("none", all);
