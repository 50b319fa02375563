import { describe, expect, it } from "vitest";
import { f32, i64 } from "../../../test/golden.ts";
import { uniform } from "../../math/index.ts";
import { noGrad } from "../../tensor/index.ts";
import { fitScore } from "./probe.ts";

const random = uniform(3);
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
const dims = 6;
const truth = [2, -1, 0.5, 0, 0, 3];
/** Features of very different scales, as hidden states have. */
const rows = Array.from({ length: 400 }, () =>
  Array.from({ length: dims }, (_, i) => 10 ** (i % 3) * normal()),
);
const scoreOf = (w: readonly number[], row: readonly number[]) =>
  row.reduce((sum, x, i) => sum + (x / 10 ** (i % 3)) * (w[i] as number), 0);
const pairs = Array.from({ length: 200 }, (_, i) => {
  const [a, b] = [2 * i, 2 * i + 1];
  return scoreOf(truth, rows[a] as number[]) > scoreOf(truth, rows[b] as number[]) ? [a, b] : [b, a];
});
const weights = pairs.map(() => 1 / pairs.length);
const fitted = noGrad(() =>
  fitScore(
    f32(rows),
    i64(pairs.map(([a]) => a as number)),
    i64(pairs.map(([, b]) => b as number)),
    f32(weights),
  ),
).toArray();

describe("a score fitted to pairs", () => {
  it("is at the minimum of the ridged logistic loss: every small step raises it", () => {
    const deviation = Array.from({ length: dims }, (_, i) => {
      const column = rows.map((row) => row[i] as number);
      const mean = column.reduce((a, b) => a + b) / column.length;
      return Math.sqrt(column.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (column.length - 1));
    });
    const lossOf = (w: readonly number[]) => {
      const dot = (row: number) =>
        (rows[row] as number[]).reduce((sum, x, i) => sum + x * (w[i] as number), 0);
      const ranking = pairs.map(([a, b]) => Math.log1p(Math.exp(dot(b as number) - dot(a as number))));
      const ridge = w.reduce((sum, x, i) => sum + (x * (deviation[i] as number)) ** 2, 0) * 0.5;
      return ranking.reduce((sum, x) => sum + x, 0) / pairs.length + ridge;
    };
    const least = lossOf(fitted);
    for (let i = 0; i < dims; i++)
      for (const step of [-0.01, 0.01])
        expect(
          lossOf(fitted.map((x, j) => (i === j ? x + step / (deviation[i] as number) : x))),
        ).toBeGreaterThan(least);
  });

  it("orders new pairs as the truth does", () => {
    const own = fitted.map((w, i) => w * 10 ** (i % 3));
    const fresh = Array.from({ length: 500 }, () =>
      [0, 1].map(() => Array.from({ length: dims }, (_, i) => 10 ** (i % 3) * normal())),
    );
    const right = fresh.filter(
      ([a = [], b = []]) => scoreOf(truth, a) > scoreOf(truth, b) === scoreOf(own, a) > scoreOf(own, b),
    );
    expect(right.length / fresh.length).toBeGreaterThan(0.93);
  });
});
