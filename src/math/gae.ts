import { stack, type Tensor } from "../tensor/index.ts";

/**
 * Generalised advantage estimation (Schulman et al. 2016, eq. 16) over responses padded on the right; the value after
 * a response's last token is 0. Masked places give 0.
 * @param rewards (batch, time) @param values (batch, time) @param mask (batch, time)
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
    const counts = mask.select(1, t);
    const value = values.select(1, t);
    const delta = rewards.select(1, t).add(nextValue.mul(gamma)).sub(value);
    // Beyond the end of a response everything is 0, so that its last token bootstraps from nothing.
    advantage = delta.add(advantage.mul(gamma * lambda)).mul(counts);
    nextValue = value.mul(counts);
    columns[t] = advantage;
  }
  const advantages = stack(columns, 1);
  return { advantages, returns: advantages.add(values.mul(mask)) };
}

/**
 * Reward of each response token: −β·KL there, plus the response's score at its last token (Ouyang et al. 2022, eq. 2).
 * @param scores (batch) @param kl (batch, time) @param lengths tokens of each response
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
