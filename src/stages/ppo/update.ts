import { batchRows, type Row } from "../../batch/pack.ts";
import { layOut, responseStates, spread } from "../../batch/score.ts";
import { entropyOf, farthestFromOne, logprobsOf } from "../../math/index.ts";
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
  const { temperature, clipRange, valueClipRange, vfCoef, entropyCoef, maxGradNorm } = config;
  const chosen = rows.map((index) => ({ ...(experience.rows[index] as Row), index }));
  const count = chosen.reduce((sum, { tokens: response }) => sum + response.length, 0);
  let worstRatio = 1;

  const policyPart = ({ layout, of }: Part, states: Tensor): Loss => {
    const [flat, entropies] = policy.readLogits(states, (logits, part) => {
      const logprobs = logprobsOf(logits, part(layout.targets), temperature);
      return entropyCoef ? [logprobs, entropyOf(logits, temperature)] : [logprobs];
    }) as [Tensor, Tensor?];
    const logprobs = spread(layout, flat);
    const oldLogprobs = of(experience.oldLogprobs);
    const { loss, metrics } = policyLoss(
      logprobs,
      oldLogprobs,
      of(experience.advantages),
      layout.responseMask,
      clipRange,
      count,
    );
    const ratios = logprobs.detach().sub(oldLogprobs).mul(layout.responseMask).exp();
    worstRatio = farthestFromOne([worstRatio, ratios.min().item(), ratios.max().item()]);
    const measured = { ...metrics, policyLoss: loss.detach() };
    const bonus = entropies?.sum().mul(entropyCoef / count);
    return { loss: bonus ? loss.sub(bonus) : loss, metrics: measured };
  };
  const criticPart = ({ layout, of }: Part, states: Tensor): Loss => {
    const { loss, metrics } = valueLoss(
      spread(layout, critic.scores(states)),
      of(experience.values),
      of(experience.returns),
      layout.responseMask,
      valueClipRange,
      count,
    );
    return {
      loss: loss.mul(vfCoef),
      metrics: { valueClipFraction: metrics.clipFraction, valueLoss: loss.detach() },
    };
  };

  const parts = batchRows(chosen, config.microBatchTokens);
  const learned = accumulate(
    parts,
    (rows) => {
      const part = take(rows);
      const states = responseStates(policy, part.layout);
      const own = policyPart(part, states);
      return critic instanceof ValueHead ? together(own, criticPart(part, states)) : own;
    },
    policy,
  );
  if (rates.policy) ptx();
  const policyGradNorm = optimizers.policy.step(rates.policy, maxGradNorm);
  const judged =
    critic instanceof ValueHead
      ? learned
      : accumulate(
          parts,
          (rows) => {
            const part = take(rows);
            return criticPart(part, responseStates(critic, part.layout));
          },
          critic,
        );
  const criticGradNorm = optimizers.critic.step(rates.critic, maxGradNorm);
  return {
    policyLoss: learned.policyLoss as number,
    valueLoss: judged.valueLoss as number,
    approxKl: learned.approxKl as number,
    clipFraction: learned.clipFraction as number,
    ratio: learned.ratio as number,
    ratioSquare: learned.ratioSquare as number,
    valueClipFraction: judged.valueClipFraction as number,
    policyGradNorm,
    criticGradNorm,
    worstRatio,
  };
}

const together = (a: Loss, b: Loss): Loss => ({
  loss: a.loss.add(b.loss),
  metrics: { ...a.metrics, ...b.metrics },
});

interface Part {
  layout: ReturnType<typeof layOut>;
  /** The part's rows of a (batch, time) tensor. */
  of: (whole: Tensor) => Tensor;
}

function take(rows: readonly (Row & { index: number })[]): Part {
  const layout = layOut(rows);
  const index = tensor(
    rows.map((row) => row.index),
    { dtype: "int64" },
  );
  return { layout, of: (whole) => whole.indexSelect(0, index).narrow(1, 0, layout.time) };
}
