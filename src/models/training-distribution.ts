import { existsSync } from "node:fs";
import { join } from "node:path";
import { InputError } from "../data/errors.ts";
import { keep, noGrad, ops, scope, type Tensor, tensor } from "../tensor/index.ts";
import { readSafetensors, writeSafetensors } from "./files/safetensors.ts";

const file = "training-distribution.safetensors";

/** What a reward model made of the answers that it learned from: answers far from them are ones it knows nothing of. */
export interface TrainingDistribution {
  /** Mean of the hidden states at the scores' tokens: (hidden) float32. */
  mean: Tensor;
  /** Inverse of their covariance: (hidden, hidden) float32. */
  precision: Tensor;
  /** (4) float32: the lowest score and the highest; mean and standard deviation of the held-out answers' distance. */
  range: Tensor;
}

/** Weight of the identity in the covariance, which a few hundred answers leave singular. */
const shrinkage = 0.1;

/**
 * Fits a normal distribution to hidden states. The covariance is shrunk towards a multiple of the identity.
 * @param states (answers, hidden) float32 of the answers that were learned from
 * @param scores of these answers
 * @param heldOut (answers, hidden) float32 of others, whose distance is what is usual
 */
export function fitDistribution(
  states: Tensor,
  scores: readonly number[],
  heldOut: Tensor,
): TrainingDistribution {
  return noGrad(() =>
    scope(() => {
      const mean = ops.mean(states, { dim: [0] });
      const centred = states.sub(mean);
      const covariance = centred
        .transpose(0, 1)
        .matmul(centred)
        .mul(1 / states.size(0));
      const hidden = states.size(1);
      const variance = ops.trace(covariance).item() / hidden;
      const shrunk = covariance
        .mul(1 - shrinkage)
        .add(ops.eye(hidden).mul(shrinkage * variance + Number.EPSILON));
      const precision = ops.cholesky_inverse(ops.linalg_cholesky(shrunk));
      const usual = distances(heldOut, mean, precision);
      const range = tensor([
        Math.min(...scores),
        Math.max(...scores),
        ops.mean(usual).item(),
        ops.std(usual, { correction: 0 }).item(),
      ]);
      return { mean: keep(mean), precision: keep(precision), range: keep(range) };
    }),
  );
}

/** Computes the Mahalanobis distance of each state: √((h − μ)ᵀ Σ⁻¹ (h − μ)). @returns (answers) */
const distances = (states: Tensor, mean: Tensor, precision: Tensor): Tensor => {
  const centred = states.sub(mean);
  return centred.matmul(precision).mul(centred).sum(1).sqrt();
};

/**
 * Computes how far hidden states are from those of the answers that a reward model learned from: their Mahalanobis
 * distance, in standard deviations above that of held-out answers.
 * @param states (answers, hidden) @returns (answers)
 */
export function distanceBeyond(states: Tensor, { mean, precision, range }: TrainingDistribution): Tensor {
  const [, , usual = 0, deviation = 1] = range.toArray();
  return distances(states.to("float32").toDevice("cpu"), mean, precision)
    .sub(usual)
    .mul(1 / Math.max(deviation, Number.EPSILON));
}

/** The lowest and the highest score of the answers that a reward model learned from. */
export function scoreRange({ range }: TrainingDistribution): { lowest: number; highest: number } {
  const [lowest = Number.NaN, highest = Number.NaN] = range.toArray();
  return { lowest, highest };
}

/** Saves a distribution beside its model. */
export const saveDistribution = (folder: string, { mean, precision, range }: TrainingDistribution): void =>
  writeSafetensors(
    join(folder, file),
    new Map([
      ["mean", mean],
      ["precision", precision],
      ["range", range],
    ]),
  );

/** Reads the distribution that is saved beside a model; undefined if there is none. @throws InputError when it is damaged */
export function readDistribution(folder: string): TrainingDistribution | undefined {
  const path = join(folder, file);
  if (!existsSync(path)) return undefined;
  const tensors = readSafetensors(path);
  const find = (name: string): Tensor => {
    const stored = tensors.get(name);
    if (!stored) throw new InputError(`${path}: lacks "${name}"`);
    return keep(stored);
  };
  return { mean: find("mean"), precision: find("precision"), range: find("range") };
}
