import { expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { AdamW } from "../nn/adamw.ts";
import { countSteps, supervisedStep } from "./supervised.ts";

it("a run of one step learns, whatever the warm-up", () => {
  const model = tinyModel(0);
  const optimizer = new AdamW(model.train().learned);
  const progress = { stage: "sft", step: 0, total: 1, perEpoch: 1, optimizer };
  const settings = { learningRate: 0.5, schedule: "cosine", warmupRatio: 0.05, maxGradNorm: 1 } as const;
  const metrics = supervisedStep({ ...progress, ...settings }, [{ promptTokens: [1], tokens: [2] }], () => {
    for (const weight of model.learned.values()) weight.grad = weight.detach();
    return { loss: 1 };
  });
  expect(metrics.learning_rate).toBe(0.5);
  optimizer.dispose();
  model.dispose();
});

it("steps are those of all epochs, or at most maxSteps", () => {
  expect(countSteps(10, { epochs: 1.5 })).toBe(15);
  expect(countSteps(10, { epochs: 0.01 })).toBe(1);
  expect(countSteps(10, { epochs: 3, maxSteps: 4 })).toBe(4);
  expect(countSteps(1, { epochs: 1, maxSteps: 4 })).toBe(1);
});
