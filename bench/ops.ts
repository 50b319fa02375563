// Measures the cost of an operator call, next to PyTorch's from Python.
import { ops, scope, type Tensor, threads } from "../src/tensor/index.ts";
import { here, measure, python } from "./process.ts";

const [rounds, scopes, callsInScope] = [7, 200, 100];

function calls(): Record<string, () => Tensor> {
  const [a, b] = [ops.ones([1]), ops.ones([1])];
  const [m, n] = [ops.ones([8, 8]), ops.ones([8, 8])];
  const leaf = ops.ones([1]);
  leaf.requiresGrad = true;
  return {
    "add, 1 element": () => ops.add(a, b),
    "mul by a number": () => ops.mul(a, 2),
    "sum over a dimension": () => ops.sum(m, { dim: [1], keepdim: true }),
    "matmul, 8 × 8": () => ops.matmul(m, n),
    view: () => ops.view(m, [64]),
    "add, recorded for backward": () => ops.add(leaf, b),
  };
}

/** Measures the seconds per call, including the scope that frees its result, as in training: the fastest round. */
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

/** Microseconds per call on one thread. `ratio` is the peer's time over plumbline's. */
export function benchOps() {
  threads(1);
  const ours = Object.entries(calls()).map(([name, call]) => [name, cost(call)] as const);
  const theirs = measure<Record<string, number>>(python("torch"), [
    here("peers/ops.py"),
    String(rounds),
    String(scopes * callsInScope),
  ]);
  return ours.map(([setting, seconds]) => {
    const peer = theirs[setting] as number;
    const result = { job: "ops", peer: "PyTorch from Python", setting, unit: "µs a call" };
    return { ...result, ours: 1e6 * seconds, theirs: 1e6 * peer, ratio: peer / seconds };
  });
}
