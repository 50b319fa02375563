// npm run bench:ops: what an operator call costs, beside PyTorch's from Python in the same run.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cacheDir } from "../native/locate.mjs";
import { table } from "../src/cli/terminal.ts";
import { ops, scope, type Tensor, threads } from "../src/tensor/index.ts";

threads(1);
const [a, b] = [ops.ones([1]), ops.ones([1])];
const [m, n] = [ops.ones([8, 8]), ops.ones([8, 8])];
const leaf = ops.ones([1]);
leaf.requiresGrad = true;

const calls: Record<string, () => Tensor> = {
  "add, 1 element": () => ops.add(a, b),
  "mul by a number": () => ops.mul(a, 2),
  "sum over a dimension": () => ops.sum(m, { dim: [1], keepdim: true }),
  "matmul, 8 × 8": () => ops.matmul(m, n),
  view: () => ops.view(m, [64]),
  "add, recorded for backward": () => ops.add(leaf, b),
};

const [rounds, scopes, callsInScope] = [7, 200, 100];

/** Seconds a call, its result freed by a scope as in training: the best of the rounds. */
function cost(call: () => Tensor): number {
  let best = Infinity;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    for (let i = 0; i < scopes; i++)
      scope(() => {
        for (let j = 0; j < callsInScope; j++) call();
      });
    best = Math.min(best, (performance.now() - start) / 1000 / (scopes * callsInScope));
  }
  return best;
}

/** A Python with PyTorch: $PLUMBLINE_BENCH_PYTHON, or an environment of our own in the cache. */
function python(): string {
  if (process.env.PLUMBLINE_BENCH_PYTHON) return process.env.PLUMBLINE_BENCH_PYTHON;
  const folder = join(cacheDir(), "bench-python");
  const path = join(folder, "bin", "python");
  const run = (command: string, ...args: string[]) => {
    if (spawnSync(command, args, { stdio: ["ignore", 2, 2] }).status !== 0)
      throw new Error(`${command} ${args.join(" ")} failed`);
  };
  if (!existsSync(join(folder, "ready"))) {
    console.error("Installing PyTorch for Python (once; up to 2.5 GB) …");
    run(process.env.PYTHON ?? "python3", "-m", "venv", folder);
    run(
      path,
      "-m",
      "pip",
      "install",
      "--quiet",
      "-r",
      fileURLToPath(new URL("requirements.txt", import.meta.url)),
    );
    run("touch", join(folder, "ready"));
  }
  return path;
}

const ours = Object.fromEntries(Object.entries(calls).map(([name, call]) => [name, cost(call)]));
const answer = spawnSync(
  python(),
  [fileURLToPath(new URL("ops.py", import.meta.url)), String(rounds), String(scopes * callsInScope)],
  { encoding: "utf8" },
);
if (answer.status !== 0) throw new Error(`ops.py failed:\n${answer.stderr}`);
const theirs = JSON.parse(answer.stdout) as Record<string, number>;
const micro = (seconds: number) => `${(seconds * 1e6).toFixed(2)} µs`;
console.log(
  table([
    ["operator", "plumbline", "PyTorch from Python", "ratio"],
    ...Object.entries(ours).map(([name, seconds]) => {
      const peer = theirs[name] as number;
      return [name, micro(seconds), micro(peer), (seconds / peer).toFixed(2)];
    }),
  ]),
);
