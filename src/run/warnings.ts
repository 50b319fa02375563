import { mean } from "../statistics/numbers.ts";

/** A guard rail that spoke: `code` is stable, `message` says what it saw and what to do. */
export interface Warning {
  code: string;
  message: string;
}

// Each function returns its warning in a list, or an empty list, so that callers can spread them.
function warnIf(condition: boolean, code: string, message: string): Warning[] {
  return condition ? [{ code, message }] : [];
}

/** `count`: comparisons that train a reward model. */
export function fewComparisons(count: number): Warning[] {
  return warnIf(
    count < 5000,
    "few-comparisons",
    `only ${count} comparisons: below 5,000 a reward model mostly learns noise, and 10,000 is a practical minimum for a 1B model. ` +
      "Trust the held-out accuracy only as far as its interval, or collect more.",
  );
}

/** `klCoef`: β, the weight of the KL penalty. */
export function lowKlCoef(klCoef: number): Warning[] {
  return warnIf(
    klCoef < 0.01,
    "low-kl-coef",
    `the KL coefficient is ${klCoef}: below 0.01 little holds the policy near the reference, and it may learn to please the reward model alone. ` +
      "Watch objective/kl and read samples.",
  );
}

/** `normalise`: whether scores are brought to a running mean and standard deviation. */
export function scoresNotNormalised(normalise: boolean): Warning[] {
  return warnIf(
    !normalise,
    "scores-not-normalised",
    "scores are not normalised: the KL coefficient and the learning rate then depend on the reward model's scale.",
  );
}

/**
 * `worstRatio`: of the importance ratios π_trainer/π_rollout in the very first pass over a rollout, before any update,
 * the one farthest from 1. `tolerance` depends on the precision of the weights.
 */
export function rolloutTrainerMismatch(worstRatio: number, tolerance: number): Warning[] {
  return warnIf(
    !(Math.abs(worstRatio - 1) <= tolerance),
    "rollout-trainer-mismatch",
    `before the first update a probability ratio is ${worstRatio.toFixed(4)} and not 1 (tolerance ${tolerance}): the trainer and the rollout ` +
      "disagree about the same tokens. Check temperature, padding, position ids and precision.",
  );
}

/** `k1`: mean k1 estimate of the KL to the reference, nats a response. */
export function negativeKl(k1: number): Warning[] {
  return warnIf(
    k1 < -1, // TRL's PPOTrainer warned at the same value.
    "negative-kl",
    `the mean KL estimate (k1) is ${k1.toFixed(2)} nats a response. A little below 0 is sampling noise, this much is not: the responses are not ` +
      "samples of the policy at this temperature. Check top-k, top-p, temperature and padding; k3 can't be negative.",
  );
}

/** `share`: of responses that never reached a stop token, 0 to 1. */
export function noEos(share: number): Warning[] {
  return warnIf(
    share > 0.5,
    "no-eos",
    `${Math.round(share * 100)} % of the responses have no stop token: raise the response length, or check that SFT trained the end-of-turn token.`,
  );
}

/** One step's health, as "Secrets of RLHF" (Zheng et al. 2023) watches it. */
export interface Health {
  /** Mean score of the responses. */
  score: number;
  /** Mean response length, tokens. */
  length: number;
  /** Perplexity of the responses under the reference. */
  refPerplexity: number;
}

const collapseWindow = 20;

/**
 * Longer replies of lower perplexity while the reward rises: the sign of pattern collapse. Compares the two halves of
 * the last 20 steps; a change counts from a tenth on, to pass over noise.
 */
export function collapse(history: readonly Health[]): Warning[] {
  const recent = history.slice(-collapseWindow);
  const half = collapseWindow / 2;
  const [before, after] = [recent.slice(0, half), recent.slice(half)].map((steps) => ({
    score: mean(steps.map((step) => step.score)),
    length: mean(steps.map((step) => step.length)),
    refPerplexity: mean(steps.map((step) => step.refPerplexity)),
  })) as [Health, Health];
  return warnIf(
    recent.length === collapseWindow &&
      after.score > before.score &&
      after.length > 1.1 * before.length &&
      after.refPerplexity < 0.9 * before.refPerplexity,
    "collapse",
    `responses grow (${before.length.toFixed(0)} → ${after.length.toFixed(0)} tokens) and their perplexity under the reference falls ` +
      `(${before.refPerplexity.toFixed(1)} → ${after.refPerplexity.toFixed(1)}) while the score rises: the policy may be collapsing onto a pattern. ` +
      "Read samples; raise the KL coefficient or stop at an earlier checkpoint.",
  );
}
