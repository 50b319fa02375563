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
import type { SampledStates } from "./sampled.ts";

/** A batch of responses with all that the update needs; (batch, time) float32, padded on the right. */
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
 * Score of each response as PPO uses it: for a missing stop token, normalised by the moments of all seen, clipped.
 * @param groups what each response answers: `perPrompt` takes off the mean of the other responses to the same
 * (Kool et al. 2019, the leave-one-out baseline), which the moments are then of
 */
export function shapeScores(
  scores: readonly number[],
  finished: readonly boolean[],
  groups: readonly (number | string)[],
  moments: RunningMoments,
  config: Pick<PpoStepConfig, "normaliseScores" | "scoreClip" | "missingEosScore" | "missingEosPenalty">,
): { shaped: number[]; moments: RunningMoments } {
  const { normaliseScores, scoreClip = Infinity, missingEosScore, missingEosPenalty = 0 } = config;
  const compared = normaliseScores === "perPrompt" ? aboveOthers(scores, groups) : scores;
  const seen = normaliseScores === "none" ? moments : mergeMoments(moments, compared);
  const center = normaliseScores === "meanStd" ? seen.mean : 0;
  const scale = normaliseScores === "none" ? 1 : scaleOf(seen);
  const shaped = compared.map((score, i) => {
    const own = Math.max(-scoreClip, Math.min(scoreClip, (score - center) / scale));
    if (finished[i]) return own;
    return (missingEosScore ?? own) - missingEosPenalty;
  });
  return { shaped, moments: seen };
}

/** The deviation to divide scores by; 1 where they are all equal, since no scale is known then. */
function scaleOf(moments: RunningMoments): number {
  const spread = standardDeviation(moments);
  return spread > 1e-6 * Math.max(1, Math.abs(moments.mean)) ? spread + 1e-8 : 1;
}

/** What each score is above the mean of the others in its group. */
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

/** Log-probs under policy and reference, values and per-token KL of a batch, some rows at a time. */
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
      const judged = networks.critic instanceof ValueHead ? states : responseStates(networks.critic, part);
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
        values: wide(networks.critic.scores(judged)),
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
 * Rewards and advantages of a batch of responses, before any update, with the metrics that follow from them.
 * @param scores shaped by `shapeScores` @param sampled the policy's states from when it sampled the responses
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
      const found = gae(rewards, values, responseMask, config.gamma, config.lambda);
      const advantages = config.whitenAdvantages ? whiten(found.advantages, responseMask) : found.advantages;
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
        "val/explained_variance": explainedVariance(values, found.returns, responseMask).item(),
        "advantages/mean": maskedMean(found.advantages, responseMask).item(),
        "advantages/std": Math.sqrt(maskedVariance(found.advantages, responseMask).item()),
      };
      return {
        experience: {
          rows,
          responseMask,
          oldLogprobs,
          refLogprobs,
          values,
          advantages,
          returns: found.returns,
        },
        metrics,
      };
    }),
  );
}
