import { setImmediate } from "node:timers/promises";
import { batchRows } from "../../batch/pack.ts";
import { layOutResponses, padResponses, responseLogprobs } from "../../batch/score.ts";
import { DivergedError } from "../../data/errors.ts";
import { shuffledByGroup } from "../../data/split.ts";
import { mean } from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import { accumulate } from "../../nn/accumulate.ts";
import type { AdamW } from "../../nn/adamw.ts";
import { scheduleFactor } from "../../nn/schedule.ts";
import type { Metrics } from "../../run/events.ts";
import { tensor } from "../../tensor/index.ts";
import { mismatch } from "../mismatch.ts";
import type { GrpoConfig } from "./config.ts";
import { type Experience, miniBatchOf } from "./experience.ts";
import { policyGradientLoss, tokenWeights } from "./loss.ts";

/** Some passes of updates over a batch of completions. */
export async function learn(
  policy: Model,
  optimizer: AdamW,
  experience: readonly Experience[],
  step: number,
  config: GrpoConfig,
): Promise<Metrics> {
  const { epochs, seed, schedule, steps } = config;
  const miniBatchSize = miniBatchOf(experience, config);
  const lr = config.learningRate * scheduleFactor(schedule, step, steps);
  const updates: Metrics[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) {
    const groups = experience.map(({ promptIndex }) => promptIndex);
    const order = shuffledByGroup(groups, seed + step * epochs + epoch);
    for (let start = 0; start < order.length; start += miniBatchSize) {
      const chosen = order.slice(start, start + miniBatchSize).map((i) => experience[i] as Experience);
      const measured = update(policy, optimizer, chosen, lr, config, !updates.length);
      if (!Number.isFinite(measured["loss/policy_avg"]) || !Number.isFinite(measured.grad_norm))
        throw new DivergedError(
          `grpo: the loss is not finite at step ${step + 1}: lower learningRate; checkpoints are kept`,
        );
      updates.push(measured);
      await setImmediate(); // lets a signal in
    }
  }
  const [first] = updates as [Metrics];
  const averages = Object.keys(first).map((name) => [
    name,
    mean(updates.flatMap((update) => update[name] ?? [])),
  ]);
  return {
    ...Object.fromEntries(averages),
    "advantages/abs": mean(experience.map(({ advantage }) => Math.abs(advantage))),
    lr,
    updates: updates.length,
  };
}

/**
 * One optimiser step on some completions.
 * @param isFirst whether the policy is still the one that sampled, so that its log-probs are compared with the sampler's
 */
function update(
  policy: Model,
  optimizer: AdamW,
  chosen: readonly Experience[],
  lr: number,
  config: GrpoConfig,
  isFirst: boolean,
): Metrics {
  const { length, maxTokens, microBatchTokens, temperature, maxGradNorm } = config;
  const weights = tokenWeights(
    chosen.map(({ counted }) => counted),
    length,
    maxTokens,
  );
  const rows = chosen.map((sample, i) => ({ ...sample, weight: weights[i] as number }));
  const trainer: number[] = [];
  const measured = accumulate(
    batchRows(rows, microBatchTokens),
    (part) => {
      const layout = layOutResponses(part);
      const { responseMask: mask } = layout;
      const flat = responseLogprobs(policy, layout, temperature);
      if (isFirst) trainer.push(...flat.detach().toArray());
      // Where log-probs were not computed before the update, they are those of the policy as it is.
      const padded = (lists: (number[] | undefined)[]) =>
        padResponses(layout, lists.includes(undefined) ? flat.detach() : tensor(lists.flat() as number[]));
      const logprobs = {
        policy: padResponses(layout, flat),
        old: padded(part.map(({ oldLogprobs }) => oldLogprobs)),
        reference: padded(part.map(({ refLogprobs }) => refLogprobs)),
      };
      const { loss, metrics } = policyGradientLoss(
        logprobs,
        mask,
        tensor(part.map(({ advantage }) => advantage)),
        tensor(part.map(({ weight }) => weight))
          .unsqueeze(1)
          .mul(mask),
        // A penalty that is in the score must not be in the loss too.
        { ...config, klCoef: config.klIn === "loss" ? config.klCoef : 0 },
      );
      const kl = logprobs.policy.detach().sub(logprobs.reference).mul(mask).sum().div(chosen.length);
      const entropy = logprobs.policy.detach().mul(mask).sum().div(-chosen.length);
      return { loss, metrics: { ...metrics, kl, entropy } };
    },
    policy,
  );
  const gradNorm = optimizer.step(lr, maxGradNorm);
  const at = (name: string) => measured[name] as number;
  return {
    "loss/policy_avg": at("loss"),
    "policy/clipfrac_avg": at("clipFraction"),
    "policy/approxkl_avg": at("approxKl"),
    "val/ratio": at("ratio"),
    ...(chosen[0]?.refLogprobs && { "objective/kl": at("kl") }),
    "objective/entropy": at("entropy"),
    grad_norm: gradNorm,
    ...(isFirst && mismatch(trainer, rows, config)),
  };
}
