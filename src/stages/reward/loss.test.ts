import { describe, expect, it } from "vitest";
import { expectClose, f64, goldenJson, type Nested } from "../../../test/golden.ts";
import { toMeans } from "../../batch/groups.ts";
import { tensor } from "../../tensor/index.ts";
import { rankingLoss } from "./loss.ts";

// Expected values: test/golden/make_losses.py, plain PyTorch in float64 after InstructGPT's eq. 1: mean over each
// prompt's strictly ordered pairs, then over prompts that have one.
const { rewards, pairs, margins, plain, withMargin, accuracy } = goldenJson("losses.json").ranking as {
  rewards: number[];
  pairs: { prompt: number; better: number; worse: number }[];
  margins: number[];
  plain: { loss: number; grad: Nested };
  withMargin: { loss: number; grad: Nested };
  accuracy: number;
};
const index = (values: number[]) => tensor(values, { dtype: "int64" });
const prompts = new Set(pairs.map(({ prompt }) => prompt)).size;
const weights = pairs.map(
  ({ prompt }) => 1 / pairs.filter((other) => other.prompt === prompt).length / prompts,
);

function compute(margin: number[], weight = weights) {
  const scores = f64(rewards);
  scores.requiresGrad = true;
  const result = rankingLoss(
    scores,
    index(pairs.map(({ better }) => better)),
    index(pairs.map(({ worse }) => worse)),
    f64(weight),
    f64(margin),
  );
  return { scores, ...result };
}

describe("the ranking loss", () => {
  it.each([
    ["plain", plain, margins.map(() => 0)],
    ["with margins", withMargin, margins],
  ] as const)("equals the reference, %s", (_, expected, margin) => {
    const { scores, loss } = compute([...margin]);
    expect(loss.item()).toBeCloseTo(expected.loss, 9);
    loss.backward();
    expectClose(scores.grad, expected.grad, 1e-9);
  });
  it("counts correctly ordered pairs", () => {
    const equal = pairs.map(() => 1 / pairs.length);
    expect(compute(margins, equal).metrics.accuracy.item()).toBeCloseTo(accuracy, 6);
  });
  it("has metrics that are means, whatever labelers are trusted", () => {
    const means = (weight: number[]) => {
      const { loss, metrics } = compute(margins, weight);
      const all = Object.entries({ loss, ...metrics }).map(([name, value]) => [name, value.item()]);
      return toMeans(Object.fromEntries(all));
    };
    const third = means(weights.map((weight) => weight / 3));
    for (const [name, value] of Object.entries(means(weights))) expect(third[name]).toBeCloseTo(value, 6);
  });
  it("counts a tie as half right", () => {
    const tied = rankingLoss(f64([1, 1]), index([0]), index([1]), f64([1]), f64([0]));
    expect(tied.metrics.accuracy.item()).toBe(0.5);
  });
});
