import { describe, expect, it } from "vitest";
import { expectClose, goldenJson, goldenPath } from "../../../test/golden.ts";
import { emptyMoments } from "../../math/index.ts";
import { readSafetensors } from "../../models/files/safetensors.ts";
import { Model } from "../../models/model.ts";
import { openModel } from "../../models/open.ts";
import { ValueHead } from "../../models/value-head.ts";
import { AdamW } from "../../nn/adamw.ts";
import { keep, noGrad, type Tensor } from "../../tensor/index.ts";
import { ppoStepConfig } from "./config.ts";
import { gather, shapeScores } from "./experience.ts";
import { update } from "./update.ts";

// Expected values: test/golden/make_ppo_update.py, transformers' Llama and plain PyTorch in float32. Four Adam steps of
// 1e-3 amplify rounding where a gradient is near 0, so weights get 1e-5, a hundredth of a step; the rest 1e-5 too.
const golden = goldenJson("ppo_update.json");
const tensors = readSafetensors(goldenPath("ppo_update.safetensors"));
const tolerance = 1e-5;

const named = (prefix: string) =>
  new Map(
    [...tensors]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, t]) => [name.slice(prefix.length), t]),
  );
const own = (weights: Map<string, Tensor>) =>
  new Map([...weights].map(([name, t]) => [name, keep(noGrad(() => t.clone()))]));
const openPolicy = () => openModel(goldenPath("models/llama-tiny"), { dtype: "float32" });
const { json } = openPolicy();
const criticWeights = new Map([...named("critic.")].filter(([name]) => !name.startsWith("after.")));

function openHead(): ValueHead {
  const head = new ValueHead(32, "cpu");
  noGrad(() => {
    for (const [name, weight] of head.learned) weight.copy_(criticWeights.get(name) as Tensor);
  });
  return head;
}

const config = ppoStepConfig.parse({
  temperature: golden.temperature,
  gamma: golden.gamma,
  lambda: golden.lambda,
  clipRange: golden.clip,
  valueClipRange: golden.valueClip,
  vfCoef: golden.vfCoef,
  maxGradNorm: golden.maxGradNorm,
  normaliseScores: "none",
});
const rows = golden.queries.map((promptTokens: number[], i: number) => ({
  promptTokens,
  tokens: golden.responses[i],
}));
const options = { betas: golden.betas, eps: golden.eps, weightDecay: golden.weightDecay };
/** Ragged rows of the fixture as ours, padded. */
const padded = (ragged: number[][]) => {
  const time = Math.max(...ragged.map((row) => row.length));
  return ragged.map((row) => [...row, ...new Array<number>(time - row.length).fill(0)]);
};

describe.each([
  ["a critic of its own", golden, "", () => new Model(json, own(criticWeights), "score", undefined)],
  ["a head on its backbone", golden.shared, "shared.", openHead],
] as const)("a whole PPO update with %s against PyTorch", (_, expected, prefix, openCritic) => {
  const policy = openPolicy();
  const reference = new Model(json, own(named("ref.")), "lm", undefined);
  const critic = openCritic();
  const { experience } = gather({ policy, reference, critic }, rows, golden.scores, golden.beta, config);

  it("has the same log-probs, values, advantages and returns", () => {
    expectClose(experience.oldLogprobs, padded(expected.oldLogprobs), tolerance);
    const masked = (x: Tensor) => x.mul(experience.responseMask);
    expectClose(masked(experience.values), padded(expected.values), tolerance);
    expectClose(masked(experience.advantages), padded(expected.advantages), tolerance);
    expectClose(masked(experience.returns), padded(expected.returns), tolerance);
  });

  it("measures the same at each step, and ends with the same weights", () => {
    const optimizers = {
      policy: new AdamW(policy.train().learned, options),
      critic: new AdamW(critic.train().learned, options),
    };
    const rates = { policy: golden.lr, critic: golden.lr };
    const order: number[][] = golden.order.flat();
    order.forEach((chosen, i) => {
      const measured = update({ policy, critic }, optimizers, experience, chosen, rates, {
        ...config,
        microBatchTokens: i % 2 ? 8 : 1024,
      });
      const step = expected.steps[i];
      expect(measured.policyLoss).toBeCloseTo(step.policyLoss, 5);
      expect(measured.valueLoss).toBeCloseTo(step.valueLoss, 5);
      expect(measured.ratio).toBeCloseTo(step.ratioMean, 5);
      expect(measured.approxKl).toBeCloseTo(step.approxKl, 5);
      expect(measured.clipFraction).toBeCloseTo(step.clipFraction, 6);
      expect(measured.valueClipFraction).toBeCloseTo(step.valueClipFraction, 6);
      expect(measured.policyGradNorm).toBeCloseTo(step.policyGradNorm, 4);
      expect(measured.criticGradNorm).toBeCloseTo(step.criticGradNorm, 4);
      if (i === 0) expect(Math.abs(measured.worstRatio - 1)).toBeLessThan(1e-4);
    });
    for (const [name, weight] of policy.parameters)
      expectClose(weight, tensors.get(`${prefix}policy.after.${name}`) as Tensor, tolerance);
    for (const [name, weight] of critic.learned)
      expectClose(weight, tensors.get(`${prefix}critic.after.${name}`) as Tensor, tolerance);
  });
});

describe("scores", () => {
  const { batches } = goldenJson("losses.json").runningNorm as {
    batches: { scores: number[]; normalised: number[]; scaledOnly: number[] }[];
  };
  it.each([
    ["meanStd", "normalised"],
    ["std", "scaledOnly"],
  ] as const)("are normalised by running %s as the reference", (normaliseScores, name) => {
    let moments = emptyMoments;
    for (const batch of batches) {
      const result = shapeScores(
        batch.scores,
        batch.scores.map(() => true),
        batch.scores.map(() => "one prompt"),
        moments,
        { normaliseScores },
      );
      result.shaped.forEach((score, i) => expect(score).toBeCloseTo(batch[name][i] as number, 6));
      moments = result.moments;
    }
  });
  it("of responses without a stop token are replaced, or lowered; the rest clipped", () => {
    const shape = (config: object) =>
      shapeScores([9, 2, -9], [true, false, true], ["a", "a", "b"], emptyMoments, {
        normaliseScores: "none",
        ...config,
      }).shaped;
    expect(shape({ scoreClip: 5 })).toEqual([5, 2, -5]);
    expect(shape({ missingEosScore: -1 })).toEqual([9, -1, -9]);
    expect(shape({ missingEosPenalty: 1 })).toEqual([9, 1, -9]);
  });
  it("per prompt ignore what is added to all answers of one, and keep their order and ratio", () => {
    const shape = (scores: number[]) =>
      shapeScores(scores, [true, true, true, true, true], ["a", "b", "a", "b", "a"], emptyMoments, {
        normaliseScores: "perPrompt",
      }).shaped;
    const shaped = shape([1, 5, 2, 7, 6]);
    // By hand: 1 − 4, 5 − 7, 2 − 3.5, 7 − 5, 6 − 1.5, over a common deviation.
    const scale = (shaped[0] as number) / -3;
    [-3, -2, -1.5, 2, 4.5].forEach((above, i) => expect(shaped[i]).toBeCloseTo(above * scale, 6));
    shape([101, 5, 102, 7, 106]).forEach((score, i) => expect(score).toBeCloseTo(shaped[i] as number, 6));
    const spread = Math.sqrt(shaped.reduce((sum, score) => sum + score ** 2, 0) / shaped.length);
    expect(spread).toBeCloseTo(1, 0); // its mean is 0 by construction
  });
  it("normalised by the deviation only are unchanged if all are equal", () => {
    for (const score of [1, 0.1, -3]) {
      const { shaped } = shapeScores(Array(4).fill(score), Array(4).fill(true), [0, 1, 2, 3], emptyMoments, {
        normaliseScores: "std",
      });
      for (const value of shaped) expect(value).toBeCloseTo(score, 12);
    }
  });
  it("normalised per prompt need two responses to each prompt", () => {
    expect(() =>
      shapeScores([1, 2, 3], [true, true, true], ["a", "a", "b"], emptyMoments, {
        normaliseScores: "perPrompt",
      }),
    ).toThrow(/two or more/);
  });
});
