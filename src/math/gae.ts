import { stack, type Tensor } from "../tensor/index.ts";

/**
 * Computes generalised advantage estimates (Schulman et al. 2016, eq. 16) of responses padded on the right. The value
 * after a response's last token is 0.
 * @param rewards (batch, time) @param values (batch, time)
 * @param mask (batch, time): 1 for response tokens, 0 for padding
 * @returns `advantages` and `returns`, both (batch, time) and 0 for padding
 */
export function gae(
  rewards: Tensor,
  values: Tensor,
  mask: Tensor,
  gamma: number,
  lambda: number,
): { advantages: Tensor; returns: Tensor } {
  const time = rewards.size(1);
  const columns: Tensor[] = new Array(time);
  let advantage = rewards.select(1, 0).mul(0);
  let nextValue = advantage;
  for (let t = time - 1; t >= 0; t--) {
    const isToken = mask.select(1, t);
    const value = values.select(1, t);
    const delta = rewards.select(1, t).add(nextValue.mul(gamma)).sub(value);
    // Padding gives 0, so that the last token of a response bootstraps from 0.
    advantage = delta.add(advantage.mul(gamma * lambda)).mul(isToken);
    nextValue = value.mul(isToken);
    columns[t] = advantage;
  }
  const advantages = stack(columns, 1);
  return { advantages, returns: advantages.add(values.mul(mask)) };
}

/**
 * Computes the reward of each response token: −β · KL, plus the response's score at its last token (Ouyang et al. 2022,
 * eq. 2).
 * @param scores (batch) @param kl (batch, time) @param mask (batch, time)
 * @param lengths (batch) int64: number of tokens of each response
 * @returns (batch, time)
 */
export function tokenRewards(
  scores: Tensor,
  kl: Tensor,
  mask: Tensor,
  lengths: Tensor,
  beta: number,
): Tensor {
  const last = lengths.sub(1).unsqueeze(1);
  const penalty = kl.mul(mask).mul(-beta);
  return penalty.add(penalty.mul(0).scatterAdd(1, last, scores.unsqueeze(1)));
}
