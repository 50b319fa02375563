import { batchRows, type Row } from "../../batch/pack.ts";
import { layOutResponses, padResponses, responseStates } from "../../batch/score.ts";
import { InputError } from "../../data/errors.ts";
import {
  explainedVariance,
  gae,
  klEstimate,
  klFull,
  logprobsOf,
  maskedMean,
  maskedVariance,
  mergeMoments,
  type RunningMoments,
  standardDeviation,
  tokenRewards,
  tokenStatistics,
  whiten,
} from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import { ValueHead } from "../../models/value-head.ts";
import type { Metrics } from "../../run/events.ts";
import { cat, noGrad, ops, scope, type Tensor, tensor } from "../../tensor/index.ts";
import type { PpoStepConfig } from "./config.ts";
import type { SampledStates } from "./sampled-states.ts";

/** A batch of completions with what the update needs. Tensors are (batch, time) float32, padded on the right. */
export interface Experience {
  rows: readonly Row[];
  responseMask: Tensor;
  oldLogprobs: Tensor;
  refLogprobs: Tensor;
  values: Tensor;
  advantages: Tensor;
  returns: Tensor;
}

export interface Networks {
  policy: Model;
  reference: Model;
  /** A model of its own, or a head on the policy's hidden states. */
  critic: Model | ValueHead;
}

/**
 * Shapes scores as PPO uses them: normalised by the running moments of all scores, clipped, and lowered for a missing stop
 * token. `perPrompt` first subtracts the mean score of the other responses to the same prompt (the leave-one-out baseline,
 * Kool et al. 2019); the moments are then those of the differences.
 * @param groups the prompt that each response answers
 * @param moments of all earlier scores
 */
export function shapeScores(
  scores: readonly number[],
  finished: readonly boolean[],
  groups: readonly (number | string)[],
  moments: RunningMoments,
  config: Pick<PpoStepConfig, "normaliseScores" | "scoreClip" | "missingEosScore" | "missingEosPenalty">,
): { shaped: number[]; moments: RunningMoments } {
  const { normaliseScores, scoreClip = Infinity, missingEosScore, missingEosPenalty = 0 } = config;
  const relative = normaliseScores === "perPrompt" ? aboveOthers(scores, groups) : scores;
  const merged = normaliseScores === "none" ? moments : mergeMoments(moments, relative);
  const center = normaliseScores === "meanStd" ? merged.mean : 0;
  const scale = normaliseScores === "none" ? 1 : scaleOf(merged);
  const shaped = relative.map((score, i) => {
    const normalised = Math.max(-scoreClip, Math.min(scoreClip, (score - center) / scale));
    if (finished[i]) return normalised;
    return (missingEosScore ?? normalised) - missingEosPenalty;
  });
  return { shaped, moments: merged };
}

/** The deviation to divide scores by; 1 where they are all equal, since no scale is known then. */
function scaleOf(moments: RunningMoments): number {
  const spread = standardDeviation(moments);
  return spread > 1e-6 * Math.max(1, Math.abs(moments.mean)) ? spread + 1e-8 : 1;
}

/** Subtracts from each score the mean of the other scores in its group. */
function aboveOthers(scores: readonly number[], groups: readonly (number | string)[]): number[] {
  const totals = new Map<number | string, { sum: number; count: number }>();
  scores.forEach((score, i) => {
    const { sum, count } = totals.get(groups[i] as number | string) ?? { sum: 0, count: 0 };
    totals.set(groups[i] as number | string, { sum: sum + score, count: count + 1 });
  });
  return scores.map((score, i) => {
    const { sum, count } = totals.get(groups[i] as number | string) as { sum: number; count: number };
    if (count < 2)
      throw new InputError(
        "ppo: normaliseScores perPrompt compares responses to the same prompt: give each prompt two or more (samplesPerPrompt)",
      );
    return score - (sum - score) / (count - 1);
  });
}

/** Computes log-probs under policy and reference, values and per-token KL of a batch, `microBatchTokens` at a time. */
function assess(
  networks: Networks,
  rows: readonly Row[],
  time: number,
  config: PpoStepConfig,
  sampled: SampledStates | undefined,
) {
  const { temperature, klEstimator, microBatchTokens } = config;
  const parts = batchRows(rows, microBatchTokens).map((batch) =>
    scope(() => {
      const part = layOutResponses(batch);
      const wide = (flat: Tensor) => ops.constant_pad_nd(padResponses(part, flat), [0, time - part.time]);
      const states = sampled?.of(batch) ?? responseStates(networks.policy, part);
      const criticStates =
        networks.critic instanceof ValueHead ? states : responseStates(networks.critic, part);
      const refStates = responseStates(networks.reference, part);
      const warm = (x: Tensor) => x.to("float32").div(temperature);
      const [logprobs, entropy, refLogprobs, kl] = networks.policy.readLogits(states, (logits, share) => {
        const targets = share(part.targets);
        const refLogits = networks.reference.logits(share(refStates));
        const { logprobs, entropy } = tokenStatistics(logits, targets, temperature);
        const refLogprobs = logprobsOf(refLogits, targets, temperature);
        const kl =
          klEstimator === "full"
            ? klFull(warm(logits), warm(refLogits))
            : klEstimate(klEstimator, logprobs, refLogprobs);
        return [logprobs, entropy, refLogprobs, kl];
      }) as [Tensor, Tensor, Tensor, Tensor];
      return {
        logprobs: wide(logprobs),
        refLogprobs: wide(refLogprobs),
        kl: wide(kl),
        entropy: wide(entropy),
        values: wide(networks.critic.scores(criticStates)),
      };
    }),
  );
  const join = (name: keyof (typeof parts)[number]) => cat(parts.map((part) => part[name]));
  return {
    oldLogprobs: join("logprobs"),
    refLogprobs: join("refLogprobs"),
    kl: join("kl"),
    entropy: join("entropy"),
    values: join("values"),
  };
}

/**
 * Computes rewards and advantages of a batch of completions before any update, and their metrics.
 * @param scores from `shapeScores`
 * @param beta weight of the KL penalty
 * @param sampled the policy's hidden states from when it sampled the completions; saves a pass over them
 */
export function gather(
  networks: Networks,
  rows: readonly Row[],
  scores: readonly number[],
  beta: number,
  config: PpoStepConfig,
  sampled?: SampledStates,
): { experience: Experience; metrics: Metrics } {
  return noGrad(() =>
    scope(() => {
      const { responseMask, lengths, time } = layOutResponses(rows);
      const { oldLogprobs, refLogprobs, kl, entropy, values } = assess(networks, rows, time, config, sampled);
      const raw = tokenRewards(tensor(scores), kl, responseMask, tensor(lengths, { dtype: "int64" }), beta);
      const rewards = config.whitenRewards ? whiten(raw, responseMask, { shiftMean: false }) : raw;
      const estimates = gae(rewards, values, responseMask, config.gamma, config.lambda);
      const advantages = config.whitenAdvantages
        ? whiten(estimates.advantages, responseMask)
        : estimates.advantages;
      // A sum over a response's tokens, averaged over responses.
      const perResponse = (x: Tensor) => x.mul(responseMask).sum(1).mean().item();
      const k1 = perResponse(klEstimate("k1", oldLogprobs, refLogprobs));
      const penalty = -beta * perResponse(kl);
      const meanScore = scores.reduce((a, b) => a + b, 0) / scores.length;
      const metrics: Metrics = {
        "objective/kl": perResponse(kl),
        "objective/kl_k1": k1,
        "objective/kl_k3": perResponse(klEstimate("k3", oldLogprobs, refLogprobs)),
        "objective/entropy": perResponse(oldLogprobs.neg()),
        "objective/non_score_reward": penalty,
        "objective/rlhf_reward": penalty + meanScore,
        "objective/kl_coef": beta,
        "policy/entropy_avg": maskedMean(entropy, responseMask).item(),
        "policy/ref_perplexity": Math.exp(-maskedMean(refLogprobs, responseMask).item()),
        "val/explained_variance": explainedVariance(values, estimates.returns, responseMask).item(),
        "advantages/mean": maskedMean(estimates.advantages, responseMask).item(),
        "advantages/std": Math.sqrt(maskedVariance(estimates.advantages, responseMask).item()),
      };
      return {
        experience: {
          rows,
          responseMask,
          oldLogprobs,
          refLogprobs,
          values,
          advantages,
          returns: estimates.returns,
        },
        metrics,
      };
    }),
  );
}
