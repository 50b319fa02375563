import { type Group, pairTensors } from "../../batch/groups.ts";
import { allLastHiddenStates } from "../../batch/score.ts";
import type { Model } from "../../models/model.ts";
import { noGrad, ops, scope, type Tensor, zeros } from "../../tensor/index.ts";

/** Weight of the ridge penalty ‖w‖² / 2 on features of deviation 1: with less the head fits the training pairs, and the backbone learns nothing. */
const ridge = 1;

/**
 * Fits the linear score that ranks pairs best: logistic regression on their differences with a ridge, by Newton's method.
 * @param features (completions, hidden) float32
 * @param better, worse (pairs) int64: rows of `features`
 * @param weights (pairs), of sum 1
 * @returns (hidden)
 */
export function fitScore(features: Tensor, better: Tensor, worse: Tensor, weights: Tensor): Tensor {
  const scale = ops.std(features, { dim: [0] }).add(1e-6);
  const scaled = features.div(scale);
  const won = scaled.indexSelect(0, better).sub(scaled.indexSelect(0, worse));
  const penalty = ops.eye(won.size(1)).mul(ridge);
  let w = zeros([won.size(1)]);
  for (let i = 0; i < 10; i++) {
    const doubt = won.matmul(w).neg().sigmoid();
    const gradient = w.mul(ridge).sub(doubt.mul(weights).matmul(won));
    const curvature = doubt.mul(doubt.neg().add(1)).mul(weights).unsqueeze(1);
    const hessian = won.transpose(0, 1).matmul(won.mul(curvature)).add(penalty);
    w = w.sub(ops.linalg_solve(hessian, gradient));
  }
  return w.div(scale);
}

/**
 * Sets a model's scalar head to the one that ranks the groups best on its hidden states, so that training begins with what
 * the backbone already knows (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features …").
 */
export function probeHead(model: Model, groups: readonly Group[], microBatchTokens: number): void {
  noGrad(() =>
    scope(() => {
      const rows = groups.flatMap((group) => group.rows);
      const features = allLastHiddenStates(model, rows, microBatchTokens);
      const { better, worse, weights } = pairTensors(groups);
      const head = model.parameters.get("score.weight") as Tensor;
      head.copy_(fitScore(features, better, worse, weights).unsqueeze(0));
    }),
  );
}
