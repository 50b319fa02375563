import { describe, expect, it } from "vitest";
import { expectClose, f64, goldenJson, type Nested } from "../../../test/golden.ts";
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
});
