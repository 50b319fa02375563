// Runs the tests of code that uses kernels once for each instruction set but the one in use, which `npm test` runs with:
// chosen by PLUMBLINE_CPU, and emulated (native/levels.h) where this processor lacks the set; and the kernels' tests
// without libtorch, for ARM too.
// `npm run test:cpu`.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kernelFlags } from "../native/locate.mjs";
import { type CpuLevel, cpuLevelNames, native } from "../src/tensor/native.ts";

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

function run(command: string, args: readonly string[], env: Record<string, string> = {}): void {
  const { status } = spawnSync(command, args, { stdio: "inherit", env: { ...process.env, ...env } });
  if (status !== 0) process.exitCode = 1;
}

function test(level: CpuLevel, files: readonly string[], env: Record<string, string> = {}): void {
  console.log(
    `\ninstructions: ${[level, env.PLUMBLINE_EMULATE && "emulated", env.CXX].filter(Boolean).join(", ")}`,
  );
  run("npx", ["vitest", "run", ...files], { PLUMBLINE_CPU: level, ...env });
}

/** Whether a command is installed. */
const has = (command: string): boolean => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;

/** Compiles the kernels with their tests, without libtorch (test/kernels), and runs them for each of these emulators. */
function testAlone(
  what: string,
  compiler: readonly string[],
  runners: readonly (readonly string[])[] = [[]],
): void {
  console.log(`\nkernels alone: ${what}`);
  const missing = [compiler[0], ...runners.map(([runner]) => runner)].find((name) => name && !has(name));
  if (missing) {
    console.log(`skipped: ${missing} is not installed`);
    return;
  }
  const folder = mkdtempSync(join(tmpdir(), "kernels-"));
  const program = join(folder, "kernels");
  const [command = "", ...options] = compiler;
  run(command, [
    ...options,
    ...kernelFlags,
    "-static",
    "test/kernels/kernels.cc",
    "native/cpu.cc",
    "-o",
    program,
  ]);
  for (const [runner = program, ...args] of runners)
    run(runner, runner === program ? [] : [...args, program]);
  rmSync(folder, { recursive: true });
}

testAlone("g++", ["g++"]);
testAlone("g++, emulated", ["g++", "-DPLUMBLINE_EMULATE"]);
testAlone("clang++", ["clang++"]);
testAlone(
  "ARM",
  ["aarch64-linux-gnu-g++"],
  [
    ["qemu-aarch64", "-cpu", "max"],
    ["qemu-aarch64", "-cpu", "cortex-a72"], // without bfloat16
  ],
);

const emulate = { PLUMBLINE_EMULATE: "1" };
run(process.execPath, ["scripts/setup.mjs"], emulate);
const { cpu } = native().capabilities();
const here: readonly string[] = [...Object.keys(native().peakRates()), "none"];
for (const level of cpuLevelNames) {
  // Model and sampler call the same kernels on every set: their tests run with a common one, and none. `npm test` runs
  // all tests with the set in use; its emulation, which other machines use, is tested here.
  if (level === cpu || !here.includes(level)) test(level, kernels, emulate);
  else test(level, level === "avx2" || level === "none" ? all : kernels);
}

// Apple's compiler is a clang.
if (has("clang++")) {
  const clang = { CXX: "clang++" };
  run(process.execPath, ["scripts/setup.mjs"], clang);
  test(cpu, kernels, clang);
} else console.log("\nthe addon compiled by clang++: skipped, it is not installed");
