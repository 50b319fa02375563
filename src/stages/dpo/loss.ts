import { shareRight } from "../../math/index.ts";
import { ops, type Tensor } from "../../tensor/index.ts";

/** Log-probabilities of completions, as the losses read them. */
export interface Completions {
  /** (completions): log-probability of the whole completion under the policy, in nats. */
  policy: Tensor;
  /** (completions): the same under the reference. */
  reference: Tensor;
  /** (completions): tokens. */
  lengths: Tensor;
}

export interface PairOptions {
  loss: "sigmoid" | "hinge" | "ipo" | "robust" | "simpo" | "orpo";
  beta: number;
  /** ε: share of pairs that are taken to be the wrong way round. */
  labelSmoothing: number;
  /** SimPO's γ: by how much the better completion should win. */
  targetMargin: number;
}

interface Loss {
  loss: Tensor;
  metrics: Record<string, Tensor>;
}

/**
 * Computes the loss of preference pairs, Σ weight · loss. For a completion, r = log π/π_ref, r̄ is r divided by its
 * tokens, and p is log π divided by its tokens; for a pair, δ = r_better − r_worse:
 * - sigmoid: −(1 − ε) log σ(βδ) − ε log σ(−βδ) (Rafailov et al. 2023, eq. 7; ε: conservative DPO, Mitchell 2023)
 * - robust: (−(1 − ε) log σ(βδ) + ε log σ(−βδ)) / (1 − 2ε) (Chowdhury et al. 2024, eq. 11)
 * - hinge: max(0, 1 − βδ) (Zhao et al. 2023; Liu et al. 2023)
 * - ipo: (δ̄ − 1/2β)² (Azar et al. 2023, eq. 17; divided by tokens, as in its authors' code)
 * - simpo: −log σ(β(p_better − p_worse) − γ) (Meng et al. 2024, eq. 6)
 * - orpo: −p_better − β log σ(log odds(p_better) − log odds(p_worse)) (Hong et al. 2024, eq. 6)
 * @param better, worse (pairs) int64: indices of the pair's completions
 * @param weights (pairs): 1 / pairs of the prompt / prompts weighs all prompts equally
 * @returns metrics as sums under the weights, and the sum of the weights
 */
export function pairLoss(
  completions: Completions,
  better: Tensor,
  worse: Tensor,
  weights: Tensor,
  options: PairOptions,
): Loss {
  const sum = (values: Tensor) => values.mul(weights).sum();
  const sides: Sides = (values) => [values.indexSelect(0, better), values.indexSelect(0, worse)];
  const [policyBetter, policyWorse] = sides(completions.policy.detach());
  const [rewardBetter, rewardWorse] = sides(impliedRewards(completions, options).detach());
  const margins = rewardBetter.sub(rewardWorse);
  return {
    loss: sum(lossOfPairs(completions, sides, options)),
    metrics: {
      "rewards/chosen": sum(rewardBetter),
      "rewards/rejected": sum(rewardWorse),
      "rewards/accuracies": sum(shareRight(margins)),
      "rewards/margins": sum(margins),
      "logps/chosen": sum(policyBetter),
      "logps/rejected": sum(policyWorse),
      weight: weights.sum(),
    },
  };
}

/** Splits values of completions, (completions), into those of the pairs' better and worse side, (pairs) each. */
type Sides = (values: Tensor) => readonly [better: Tensor, worse: Tensor];

/** The reward that the policy implies (Rafailov et al. 2023, eq. 5); SimPO's (eq. 4) for losses without a reference. */
function impliedRewards({ policy, reference, lengths }: Completions, { loss, beta }: PairOptions): Tensor {
  const isReferenceFree = loss === "simpo" || loss === "orpo";
  return (isReferenceFree ? policy.div(lengths) : policy.sub(reference)).mul(beta);
}

function lossOfPairs(
  { policy, reference, lengths }: Completions,
  sides: Sides,
  { loss, beta, labelSmoothing: e, targetMargin }: PairOptions,
): Tensor {
  const difference = (values: Tensor) => {
    const [better, worse] = sides(values);
    return better.sub(worse);
  };
  const ratio = policy.sub(reference);
  const mean = policy.div(lengths);
  switch (loss) {
    case "sigmoid":
    case "robust": {
      const logits = difference(ratio).mul(beta);
      const right = logits.logSigmoid().mul(1 - e);
      const wrong = logits.neg().logSigmoid().mul(e);
      return loss === "sigmoid" ? right.add(wrong).neg() : wrong.sub(right).div(1 - 2 * e);
    }
    case "hinge":
      return difference(ratio).mul(-beta).add(1).clamp(0, null);
    case "ipo":
      return difference(ratio.div(lengths))
        .sub(1 / (2 * beta))
        .square();
    case "simpo":
      return difference(mean).mul(beta).sub(targetMargin).logSigmoid().neg();
    case "orpo": {
      const logOdds = mean.sub(ops.expm1(mean).neg().log());
      return sides(mean)[0].add(difference(logOdds).logSigmoid().mul(beta)).neg();
    }
  }
}

export interface KtoOptions {
  beta: number;
  desirableWeight: number;
  undesirableWeight: number;
}

/**
 * Computes the loss of completions that were rated good or bad, Σ weight · λ(1 − σ(±β(r − z))): + and λ_D for good ones,
 * − and λ_U for bad ones (Ethayarajh et al. 2024, eq. 8).
 * @param good (completions): 1 for good, 0 for bad
 * @param weights (completions)
 * @param kl z: the policy's KL to the reference in nats, estimated on mismatched completions; without gradient
 */
export function ktoLoss(
  { policy, reference }: Completions,
  good: Tensor,
  weights: Tensor,
  kl: number,
  { beta, desirableWeight, undesirableWeight }: KtoOptions,
): Loss {
  const ratio = policy.sub(reference);
  const side = good.mul(2).sub(1);
  const lambda = good.mul(desirableWeight - undesirableWeight).add(undesirableWeight);
  const losses = ratio.sub(kl).mul(beta).mul(side).neg().sigmoid().mul(lambda);
  const bad = good.neg().add(1);
  const rewards = ratio.detach().mul(beta).mul(weights);
  const logps = policy.detach().mul(weights);
  return {
    loss: losses.mul(weights).sum(),
    metrics: {
      "rewards/chosen": rewards.mul(good).sum(),
      "rewards/rejected": rewards.mul(bad).sum(),
      "logps/chosen": logps.mul(good).sum(),
      "logps/rejected": logps.mul(bad).sum(),
      chosen: good.mul(weights).sum(),
      rejected: bad.mul(weights).sum(),
    },
  };
}
