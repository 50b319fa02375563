import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import {
  arange,
  type DType,
  fromBytes,
  keep,
  mapFile,
  memory,
  noGrad,
  operator,
  ops,
  Rng,
  scope,
  type Tensor,
  TensorError,
  tensor,
  zeros,
} from "./index.ts";

/** Calls what the compiler would refuse. */
// biome-ignore lint/suspicious/noExplicitAny: the point is to pass what the types forbid
const untyped = ops as any;

describe("operators", () => {
  it("take positional and named arguments, by their schemas", () => {
    scope(() => {
      const x = tensor([1, 2, 3, 4], { shape: [2, 2] });
      expect(ops.sum(x, { dim: [1], keepdim: true }).toArray()).toEqual([3, 7]);
      expect(ops.sum(x, { dim: [0], dtype: "float64" }).dtype).toBe("float64");
      expect(ops.add(x, x, { alpha: 10 }).toArray()).toEqual([11, 22, 33, 44]);
      expect(ops.topk(x, 1)[0]?.toArray()).toEqual([2, 4]);
      expect(ops.cat([x, x], { dim: 1 }).shape).toEqual([2, 4]);
    });
  });

  it("exist beyond the typed ones", () => {
    scope(() => {
      const solve = operator("aten::linalg_solve") as (a: Tensor, b: Tensor) => Tensor;
      expect(solve(tensor([2, 0, 0, 4], { shape: [2, 2] }), tensor([2, 4])).toArray()).toEqual([1, 1]);
    });
  });

  it("refuse invalid arguments, naming the operator and the argument", () => {
    scope(() => {
      const x = zeros([2, 3]);
      const refusals: [() => unknown, RegExp][] = [
        [() => ops.matmul(x, x), /matmul.*\(2, 3\)/s],
        [() => untyped.add(x, "one"), /add.*"one"/s],
        [() => untyped.add(x), /add/],
        [() => untyped.add(x, x, { aplha: 2 }), /add.*aplha/s],
        [() => untyped.sum(x, { dim: [0.5] }), /sum.*dim/s],
        [() => untyped.relu(null), /relu/],
        [() => untyped.relu({}), /relu/],
        [() => untyped.cat([x, 3]), /cat/],
        [() => untyped.no_such_operator(x), /no_such_operator/],
        [() => ops.index_select(x, 0, tensor([7], { dtype: "int64" })), /index_select/],
        [() => x.view(4), /view.*\(2, 3\)/s],
        [() => zeros([-1]), /zeros/],
        [() => tensor([1, 2], { shape: [3] }), /bytes|shape/],
        [() => tensor([1.5], { dtype: "int64" }), /1.5 is not an int64/],
        [() => x.item(), /item|element/],
        [() => ops.zeros([1e15]), /zeros/],
      ];
      for (const [call, message] of refusals) expect(call).toThrow(message);
      expect(ops.relu(x).shape).toEqual([2, 3]);
    });
  });

  it("refuse a freed tensor", () => {
    const x = zeros([2]);
    x.dispose();
    expect(() => x.add(1)).toThrow(TensorError);
    expect(() => x.toArray()).toThrow(/freed/);
    expect(() => x.backward()).toThrow(TensorError);
    expect(`${x}`).toBe("Tensor(freed)");
    x.dispose(); // twice is no harm
    const next = zeros([3]);
    expect(() => x.add(1)).toThrow(/freed/); // its handle is never given to another
    next.dispose();
  });

  it("are refused in a second thread", async () => {
    const worker = new Worker(
      `require("node:worker_threads").parentPort.on("message", () => {});
       try { require(process.env.PLUMBLINE_ADDON_UNDER_TEST); require("node:worker_threads").parentPort.postMessage("loaded"); }
       catch (error) { require("node:worker_threads").parentPort.postMessage(error.message); }`,
      {
        eval: true,
        env: {
          ...process.env,
          PLUMBLINE_ADDON_UNDER_TEST: (await import("../../native/locate.mjs")).findAddon() ?? "",
        },
      },
    );
    const message = await new Promise((resolve) => worker.once("message", resolve));
    await worker.terminate();
    expect(message).toMatch(/thread/);
  });
});

describe("dtypes", () => {
  it.each<[DType, number[]]>([
    ["float32", [1.5, -2, 0.1]],
    ["float64", [1.5, -2, 0.1]],
    ["bfloat16", [1.5, -2, 0.1]],
    ["float16", [1.5, -2, 0.1]],
    ["int64", [1, -2, 3]],
    ["int32", [1, -2, 3]],
    ["uint8", [1, 255, 3]],
    ["bool", [1, 0, 1]],
  ])("%s keeps numbers as IEEE 754 or two's complement does", (dtype, values) => {
    scope(() => {
      const x = tensor(values, { dtype });
      expect(x.dtype).toBe(dtype);
      // Rounding errs by half of the last place: 2^-p, relative, for a significand of p bits.
      const relative = { bfloat16: 2 ** -8, float16: 2 ** -11, float32: 2 ** -24 }[dtype as string] ?? 0;
      for (const [i, value] of x.toArray().entries())
        expect(Math.abs(value - (values[i] as number))).toBeLessThanOrEqual(Math.abs(value) * relative);
    });
  });
});

describe("scopes", () => {
  it("free the tensors made in them, except the returned ones, at any depth", () => {
    const before = memory().handles;
    const kept = scope(() => {
      const a = zeros([2]);
      a.add(1).mul(2);
      return { list: [a.add(3)], map: new Map([["b", a]]) };
    });
    expect(memory().handles).toBe(before + 2);
    expect(kept.list[0]?.toArray()).toEqual([3, 3]);
    kept.list[0]?.dispose();
    kept.map.get("b")?.dispose();
    expect(memory().handles).toBe(before);
  });

  it("leak little for each new shape that oneDNN compiles", () => {
    // A convolution, since which products of matrices oneDNN takes is the processor's matter.
    const weight = zeros([64, 64, 3, 3]);
    const convolve = (from: number, to: number) => {
      for (let rows = from; rows < to; rows++) scope(() => void ops.conv2d(zeros([4, 64, rows, 8]), weight));
    };
    convolve(3, 100);
    const before = memory().allocated ?? 0;
    convolve(100, 400);
    // oneDNN's own limits leave 17 MB here; ours nothing, and 5 MB are for what Node takes meanwhile.
    expect((memory().allocated ?? 0) - before).toBeLessThan(5e6);
    weight.dispose();
  });

  it("hand returned tensors to the outer scope, and clean up after an exception", () => {
    const before = memory().handles;
    scope(() => {
      scope(() => zeros([1]));
      expect(memory().handles).toBe(before + 1);
      expect(() =>
        scope(() => {
          zeros([9]);
          throw new Error("mine");
        }),
      ).toThrow("mine");
      expect(memory().handles).toBe(before + 1);
    });
    expect(memory().handles).toBe(before);
  });

  it("do not free tensors passed to keep()", () => {
    const x = scope(() => {
      keep(zeros([1]));
      return keep(zeros([2]));
    });
    expect(x.isLive).toBe(true);
    x.dispose();
  });

  it("refuse a promise", () => {
    const before = memory().handles;
    expect(() => scope(async () => zeros([1]))).toThrow(/promise/);
    expect(memory().handles).toBe(before);
  });
});

describe("autograd", () => {
  it("agrees with finite differences", () => {
    scope(() => {
      const at = [0.3, -1.2, 2];
      const f = (x: Tensor) => x.mul(x).exp().add(1).log().sigmoid().sum();
      const x = tensor(at, { dtype: "float64" });
      x.requiresGrad = true;
      f(x).backward();
      const gradient = x.grad?.toArray() as number[];
      const h = 1e-6;
      at.forEach((_, i) => {
        const shifted = (by: number) =>
          f(
            tensor(
              at.map((v, j) => (i === j ? v + by : v)),
              { dtype: "float64" },
            ),
          ).item();
        // Central differences in float64: error about h² + 1e-16/h.
        expect(gradient[i]).toBeCloseTo((shifted(h) - shifted(-h)) / (2 * h), 8);
      });
    });
  });

  it("records nothing in noGrad, and records again after an exception in it", () => {
    scope(() => {
      const x = tensor([1]);
      x.requiresGrad = true;
      expect(noGrad(() => x.mul(2)).requiresGrad).toBe(false);
      expect(() =>
        noGrad(() => {
          throw new Error("mine");
        }),
      ).toThrow("mine");
      expect(x.mul(2).requiresGrad).toBe(true);
    });
  });

  it("reports operators that cannot be differentiated", () => {
    scope(() => {
      expect(() => zeros([2]).sum().backward()).toThrow(/grad/);
      const x = zeros([2]);
      x.requiresGrad = true;
      expect(() => x.mul(2).backward()).toThrow(/scalar/);
    });
  });
});

describe("random numbers", () => {
  const draw = (generator: Rng) => scope(() => ops.rand([5], { generator }).toArray());

  it("depend on the seed only, and continue from a saved state", () => {
    expect(draw(new Rng(7))).toEqual(draw(new Rng(7)));
    expect(draw(new Rng(7))).not.toEqual(draw(new Rng(8)));
    const generator = new Rng(7);
    draw(generator);
    const state = generator.state;
    const next = draw(generator);
    const other = new Rng(0);
    other.state = state;
    expect(draw(other)).toEqual(next);
  });

  it("refuse an invalid state", () => {
    const generator = new Rng(7);
    expect(() => {
      generator.state = new Uint8Array(3);
    }).toThrow(TensorError);
  });
});

describe("bytes", () => {
  it("are copied from an array and back", () => {
    scope(() => {
      const bytes = new Uint8Array(new Float32Array([1, 2, 3, 4]).buffer);
      const x = fromBytes(bytes, [2, 2], "float32");
      expect(x.toArray()).toEqual([1, 2, 3, 4]);
      expect(new Uint8Array(x.bytes())).toEqual(bytes);
      bytes.fill(0);
      expect(x.toArray()).toEqual([1, 2, 3, 4]); // a copy
      expect(x.transpose(0, 1).bytes()).toEqual(new Float32Array([1, 3, 2, 4]).buffer);
    });
  });

  it("of a file are mapped, and written to without changing it", () => {
    const folder = mkdtempSync(join(tmpdir(), "map-"));
    const path = join(folder, "numbers");
    writeFileSync(path, new Uint8Array(new Float32Array([0, 1, 2, 3, 4]).buffer));
    try {
      scope(() => {
        const [x] = mapFile(path, [{ offset: 8, shape: [3], dtype: "float32" }]) as [Tensor];
        expect(x.toArray()).toEqual([2, 3, 4]);
        x.mul_(10);
        expect(x.toArray()).toEqual([20, 30, 40]);
        const [again] = mapFile(path, [{ offset: 0, shape: [5], dtype: "float32" }]) as [Tensor];
        expect(again.toArray()).toEqual([0, 1, 2, 3, 4]);
      });
      expect(() => mapFile(path, [{ offset: 8, shape: [4], dtype: "float32" }])).toThrow(TensorError);
      expect(() => mapFile(join(folder, "none"), [{ offset: 0, shape: [1], dtype: "float32" }])).toThrow(
        /none/,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("counts the memory of live tensors", () => {
    const before = memory();
    const x = arange(1000, "float32");
    expect(memory().handles).toBe(before.handles + 1);
    expect(memory().bytes - before.bytes).toBeGreaterThanOrEqual(4000);
    x.dispose();
    expect(memory().bytes).toBe(before.bytes);
  });
});
