import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { tensor } from "../tensor/index.ts";
import { openModel } from "./open.ts";
import { distanceBeyond, fitDistribution, scoreRange } from "./training-distribution.ts";

const states = tensor([1, 2, 3, 5, -1, 0, 2, -2], { shape: [4, 2] });
const heldOut = tensor([0, 0, 2, 3, 4, -1], { shape: [3, 2] });

/** By hand, in float64: mean (1.25, 1.25), covariance shrunk by a tenth, its inverse from the adjugate. */
function distancesByHand(points: [number, number][]): number[] {
  const data: [number, number][] = [
    [1, 2],
    [3, 5],
    [-1, 0],
    [2, -2],
  ];
  const moment = (f: (x: number, y: number) => number) =>
    data.reduce((sum, [x, y]) => sum + f(x - 1.25, y - 1.25), 0) / 4;
  const [xx, xy, yy] = [moment((x) => x * x), moment((x, y) => x * y), moment((_, y) => y * y)];
  const identity = (0.1 * (xx + yy)) / 2;
  const [a, b, d] = [0.9 * xx + identity, 0.9 * xy, 0.9 * yy + identity];
  return points.map(([x, y]) => {
    const [u, v] = [x - 1.25, y - 1.25];
    return Math.sqrt((u * u * d - 2 * u * v * b + v * v * a) / (a * d - b * b));
  });
}

it("computes the Mahalanobis distance, in deviations above that of held-out answers", () => {
  const distribution = fitDistribution(states, [0.5, -2, 7, 1], heldOut);
  const usual = distancesByHand([
    [0, 0],
    [2, 3],
    [4, -1],
  ]);
  const mean = usual.reduce((a, b) => a + b) / 3;
  const deviation = Math.sqrt(usual.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 3);
  const expected = distancesByHand([
    [10, 10],
    [1, 1],
  ]).map((distance) => (distance - mean) / deviation);
  const distances = distanceBeyond(tensor([10, 10, 1, 1], { shape: [2, 2] }), distribution).toArray();
  // float32 with a matrix of condition 3.
  for (const [i, distance] of distances.entries()) expect(distance).toBeCloseTo(expected[i] as number, 4);
  expect(scoreRange(distribution)).toEqual({ lowest: -2, highest: 7 });
});

it("is saved and opened with its model, and has an inverse where there are fewer answers than dimensions", () => {
  const folder = mkdtempSync(join(tmpdir(), "distribution-"));
  const model = tinyModel().withScoreHead({ std: 1 });
  const few = tensor(
    Array.from({ length: 64 }, (_, i) => Math.sin(i * i)),
    { shape: [2, 32] },
  );
  model.distribution = fitDistribution(few, [0, 1], few);
  model.save(folder);
  const opened = openModel(folder, { dtype: "float32" });
  const far = tensor(new Array(32).fill(3), { shape: [1, 32] });
  const [distance] = distanceBeyond(far, model.distribution).toArray();
  expect(distance).toBeGreaterThan(1);
  expect(distanceBeyond(far, opened.distribution as never).toArray()).toEqual([distance]);
});
