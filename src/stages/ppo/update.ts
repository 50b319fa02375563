import { batchRows, countLearned, type Row } from "../../batch/pack.ts";
import { layOutResponses, padResponses, type ResponseLayout, responseStates } from "../../batch/score.ts";
import { entropyOf, farthestFromOne, logprobsOf } from "../../math/index.ts";
import type { Model } from "../../models/model.ts";
import { ValueHead } from "../../models/value-head.ts";
import { accumulate, type Loss } from "../../nn/accumulate.ts";
import type { AdamW } from "../../nn/adamw.ts";
import { type Tensor, tensor } from "../../tensor/index.ts";
import type { PpoStepConfig } from "./config.ts";
import type { Experience, Networks } from "./experience.ts";
import { policyLoss, valueLoss } from "./loss.ts";

export interface Optimizers {
  policy: AdamW;
  critic: AdamW;
}

/** Learning rates of this step; 0 leaves a network as it is. */
export interface Rates {
  policy: number;
  critic: number;
}

/** What an update of one mini-batch measured, all means over its response tokens. */
export interface UpdateMetrics {
  policyLoss: number;
  valueLoss: number;
  approxKl: number;
  clipFraction: number;
  ratio: number;
  ratioSquare: number;
  valueClipFraction: number;
  policyGradNorm: number;
  criticGradNorm: number;
  /** Farthest that any token's ratio is from 1. */
  worstRatio: number;
}

/**
 * One step of policy and critic on the rows of a mini-batch (Schulman et al. 2017, algorithm 1). Their gradients are
 * clipped apart, and a critic of its own is stepped after the policy so that only one's are in memory. A head on the
 * policy's backbone learns with it: its loss moves both.
 * @param ptx adds the gradient of what is mixed in, if anything
 */
export function update(
  { policy, critic }: Pick<Networks, "policy" | "critic">,
  optimizers: Optimizers,
  experience: Experience,
  rows: readonly number[],
  rates: Rates,
  config: PpoStepConfig,
  ptx: () => void = () => {},
): UpdateMetrics {
  const { maxGradNorm, microBatchTokens } = config;
  const chosen = rows.map((index) => ({ ...(experience.rows[index] as Row), index }));
  const count = countLearned(chosen);
  const parts = batchRows(chosen, microBatchTokens);
  const ratios = [1];
  const policyMetrics = accumulate(
    parts,
    (rows) => {
      const part = take(rows, experience, count);
      const states = responseStates(policy, part.layout);
      const loss = policyPart(policy, states, part, config, (ratio) => ratios.push(ratio));
      return critic instanceof ValueHead ? together(loss, criticPart(critic, states, part, config)) : loss;
    },
    policy,
  );
  if (rates.policy) ptx();
  const policyGradNorm = optimizers.policy.step(rates.policy, maxGradNorm);
  const criticMetrics =
    critic instanceof ValueHead
      ? policyMetrics
      : accumulate(
          parts,
          (rows) => {
            const part = take(rows, experience, count);
            return criticPart(critic, responseStates(critic, part.layout), part, config);
          },
          critic,
        );
  const criticGradNorm = optimizers.critic.step(rates.critic, maxGradNorm);
  return {
    policyLoss: policyMetrics.policyLoss as number,
    valueLoss: criticMetrics.valueLoss as number,
    approxKl: policyMetrics.approxKl as number,
    clipFraction: policyMetrics.clipFraction as number,
    ratio: policyMetrics.ratio as number,
    ratioSquare: policyMetrics.ratioSquare as number,
    valueClipFraction: criticMetrics.valueClipFraction as number,
    policyGradNorm,
    criticGradNorm,
    worstRatio: farthestFromOne(ratios),
  };
}

/** The policy's loss on a part of a mini-batch. @param onRatio called with its smallest and its largest ratio */
function policyPart(
  policy: Model,
  states: Tensor,
  { layout, oldLogprobs, advantages, count }: Part,
  { temperature, entropyCoef, clipRange }: PpoStepConfig,
  onRatio: (ratio: number) => void,
): Loss {
  const [flat, entropies] = policy.readLogits(states, (logits, part) => {
    const logprobs = logprobsOf(logits, part(layout.targets), temperature);
    return entropyCoef ? [logprobs, entropyOf(logits, temperature)] : [logprobs];
  }) as [Tensor, Tensor?];
  const logprobs = padResponses(layout, flat);
  const mask = layout.responseMask;
  const { loss, metrics } = policyLoss(logprobs, oldLogprobs, advantages, mask, clipRange, count);
  const ratios = logprobs.detach().sub(oldLogprobs).mul(mask).exp();
  onRatio(ratios.min().item());
  onRatio(ratios.max().item());
  const bonus = entropies?.sum().mul(entropyCoef / count);
  return {
    loss: bonus ? loss.sub(bonus) : loss,
    metrics: { ...metrics, policyLoss: loss.detach() },
  };
}

/** The critic's loss on a part of a mini-batch. */
function criticPart(
  critic: Model | ValueHead,
  states: Tensor,
  { layout, values, returns, count }: Part,
  { valueClipRange, vfCoef }: PpoStepConfig,
): Loss {
  const predicted = padResponses(layout, critic.scores(states));
  const mask = layout.responseMask;
  const { loss, metrics } = valueLoss(predicted, values, returns, mask, valueClipRange, count);
  return {
    loss: loss.mul(vfCoef),
    metrics: { valueClipFraction: metrics.clipFraction, valueLoss: loss.detach() },
  };
}

const together = (a: Loss, b: Loss): Loss => ({
  loss: a.loss.add(b.loss),
  metrics: { ...a.metrics, ...b.metrics },
});

/** Rows of a mini-batch that are computed at once, with their part of the experience: (rows, time). */
interface Part extends Pick<Experience, "oldLogprobs" | "advantages" | "values" | "returns"> {
  layout: ResponseLayout;
  /** Response tokens of the whole mini-batch. */
  count: number;
}

function take(rows: readonly (Row & { index: number })[], experience: Experience, count: number): Part {
  const layout = layOutResponses(rows);
  const index = tensor(
    rows.map((row) => row.index),
    { dtype: "int64" },
  );
  const part = (whole: Tensor) => whole.indexSelect(0, index).narrow(1, 0, layout.time);
  return {
    layout,
    count,
    oldLogprobs: part(experience.oldLogprobs),
    advantages: part(experience.advantages),
    values: part(experience.values),
    returns: part(experience.returns),
  };
}
