import { describe, expect, it } from "vitest";
import { goldenJson, goldenPath } from "../../../test/golden.ts";
import { emptyMoments } from "../../math/index.ts";
import { readSafetensors } from "../../models/files/safetensors.ts";
import { Model } from "../../models/model.ts";
import { openModel } from "../../models/open.ts";
import { AdamW } from "../../nn/adamw.ts";
import { keep, noGrad } from "../../tensor/index.ts";
import { grpoConfig, withAlgorithm } from "./config.ts";
import { prepare } from "./experience.ts";
import { learn } from "./update.ts";

// Expected values: test/golden/make_policy_update.py, transformers' Llama and plain PyTorch in float64. Ours computes in
// float32: 1e-5 of the size of what is compared.
const golden = goldenJson("policy_update.json");
const references = readSafetensors(goldenPath("ppo_update.safetensors"));
const openPolicy = () => openModel(goldenPath("models/llama-tiny"), { dtype: "float32" });

function openReference(): Model {
  const weights = [...references].flatMap(([name, weight]) =>
    name.startsWith("ref.") ? [[name.slice(4), keep(noGrad(() => weight.clone()))] as const] : [],
  );
  return new Model(openPolicy().json, new Map(weights), "lm", undefined);
}

const samples = golden.responses.map((tokens: number[], i: number) => ({
  promptIndex: Math.floor(i / 2),
  prompt: [],
  promptTokens: golden.queries[i],
  tokens,
  logprobs: tokens.map(() => 0),
  mask: tokens.map(() => 1),
  text: "",
  finishReason: "stop",
  score: golden.scores[i],
}));

async function firstUpdate(algorithm: "rloo" | "reinforce", klCoef = golden.beta) {
  const settings = {
    algorithm,
    klCoef,
    temperature: golden.temperature,
    maxGradNorm: 1e9,
    samplesPerPrompt: 2,
  };
  const config = withAlgorithm(grpoConfig.parse(settings));
  const policy = openPolicy();
  const reference = openReference();
  const experience = prepare(policy, reference, samples, emptyMoments, config);
  const optimizer = new AdamW(policy.train().learned);
  const metrics = await learn(policy, optimizer, experience, 0, config);
  policy.dispose();
  reference.dispose();
  return { advantages: experience.map(({ advantage }) => advantage), metrics };
}

describe.each(["rloo", "reinforce"] as const)("the first update of %s against PyTorch", (algorithm) => {
  it("has the same advantages, loss and gradient norm", async () => {
    const expected = golden[algorithm];
    const { advantages, metrics } = await firstUpdate(algorithm);
    advantages.forEach((advantage, i) => {
      expect(advantage).toBeCloseTo(expected.advantages[i], 5);
    });
    expect(metrics["loss/policy_avg"]).toBeCloseTo(expected.loss, 5);
    expect((metrics.grad_norm as number) / expected.gradNorm).toBeCloseTo(1, 5);
  });

  it("has no KL penalty in the loss, whose reward has it already", async () => {
    // Both algorithms' advantages sum to 0, and the ratio is 1: nothing but a penalty can make the loss other than 0.
    for (const klCoef of [0.05, 5]) {
      const { metrics } = await firstUpdate(algorithm, klCoef);
      expect(metrics["loss/policy_avg"]).toBeCloseTo(0, 5);
    }
  });
});
