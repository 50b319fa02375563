import { mean } from "../statistics/numbers.ts";

/** Warning of a check: `code` is stable, `message` says what was measured and what to do. */
export interface Warning {
  code: string;
  message: string;
}

// Each function returns a list with its warning, or an empty list, so that callers can spread them.
function warnIf(condition: boolean, code: string, message: string): Warning[] {
  return condition ? [{ code, message }] : [];
}

/** Warns of a model without a chat template. @param isPlain whether conversations are written by the plain one */
export function plainTemplate(isPlain: boolean): Warning[] {
  return warnIf(
    isPlain,
    "no-chat-template",
    "the model has no chat template: conversations are written by a plain one, which is saved with the trained model",
  );
}

/** Warns of too few comparisons for a reward model. @param count of comparisons */
export function fewComparisons(count: number): Warning[] {
  return warnIf(
    count < 5000,
    "few-comparisons",
    `only ${count} comparisons: below 5,000 a reward model mostly learns noise, and 10,000 is a practical minimum for a 1B model. ` +
      "Trust the held-out accuracy only as far as its interval, or collect more.",
  );
}

/** Warns of a KL penalty that hardly holds the policy. @param klCoef β, the weight of the KL penalty */
export function lowKlCoef(klCoef: number): Warning[] {
  return warnIf(
    klCoef < 0.01,
    "low-kl-coef",
    `the KL coefficient is ${klCoef}: below 0.01 little holds the policy near the reference, and it may learn to please the reward model alone. ` +
      "Watch objective/kl and read samples.",
  );
}

/** Warns of scores without normalisation. @param normalise whether scores are normalised by their running mean and deviation */
export function scoresNotNormalised(normalise: boolean): Warning[] {
  return warnIf(
    !normalise,
    "scores-not-normalised",
    "scores are not normalised: the KL coefficient and the learning rate then depend on the reward model's scale.",
  );
}

/**
 * Warns when trainer and rollout compute different probabilities of the same tokens.
 * @param worstRatio importance ratio π_trainer / π_rollout farthest from 1, before the first update on a rollout
 * @param tolerance depends on the precision of the weights
 */
export function rolloutTrainerMismatch(worstRatio: number, tolerance: number): Warning[] {
  return warnIf(
    !(Math.abs(worstRatio - 1) <= tolerance),
    "rollout-trainer-mismatch",
    `before the first update a probability ratio is ${worstRatio.toFixed(4)} and not 1 (tolerance ${tolerance}): the trainer and the rollout ` +
      "disagree about the same tokens. Check temperature, padding, position ids and precision.",
  );
}

/** Warns of a KL estimate far below 0. @param k1 mean k1 estimate of the KL to the reference, nats per response */
export function negativeKl(k1: number): Warning[] {
  return warnIf(
    k1 < -1, // TRL's PPOTrainer warned at the same value.
    "negative-kl",
    `the mean KL estimate (k1) is ${k1.toFixed(2)} nats per response. A little below 0 is sampling noise, this much is not: the responses are not ` +
      "samples of the policy at this temperature. Check top-k, top-p, temperature and padding; k3 can't be negative.",
  );
}

/** Warns when most responses have no stop token. @param share of responses without a stop token, 0 to 1 */
export function noEos(share: number): Warning[] {
  return warnIf(
    share > 0.5,
    "no-eos",
    `${Math.round(share * 100)} % of the responses have no stop token: raise the response length, or check that SFT trained the end-of-turn token.`,
  );
}

/** Measures of a step that show pattern collapse ("Secrets of RLHF", Zheng et al. 2023). */
export interface Health {
  /** Mean score of the responses. */
  score: number;
  /** Mean response length, tokens. */
  length: number;
  /** Perplexity of the responses under the reference model. */
  refPerplexity: number;
  /** Share of the returns' variance that the critic explains; undefined in steps of earlier versions. */
  explainedVariance?: number;
}

/** Steps that are looked at together. */
const window = 20;

/**
 * Warns of pattern collapse: responses get longer and more predictable while the score rises. Compares the two halves of
 * the last 20 steps; changes of length and perplexity below a tenth are taken as noise.
 */
export function collapse(history: readonly Health[]): Warning[] {
  const recent = history.slice(-window);
  const half = window / 2;
  const [before, after] = [recent.slice(0, half), recent.slice(half)].map((steps) => ({
    score: mean(steps.map((step) => step.score)),
    length: mean(steps.map((step) => step.length)),
    refPerplexity: mean(steps.map((step) => step.refPerplexity)),
  })) as [Health, Health];
  return warnIf(
    recent.length === window &&
      after.score > before.score &&
      after.length > 1.1 * before.length &&
      after.refPerplexity < 0.9 * before.refPerplexity,
    "collapse",
    `responses grow (${before.length.toFixed(0)} → ${after.length.toFixed(0)} tokens) and their perplexity under the reference falls ` +
      `(${before.refPerplexity.toFixed(1)} → ${after.refPerplexity.toFixed(1)}) while the score rises: the policy may be collapsing onto a pattern. ` +
      "Read samples; raise the KL coefficient or stop at an earlier checkpoint.",
  );
}

/** Warns of a critic that has been worse than a constant for 20 steps. */
export function criticExplainsNothing(history: readonly Health[]): Warning[] {
  const recent = history.slice(-window);
  return warnIf(
    recent.length === window && recent.every(({ explainedVariance = 0 }) => explainedVariance < 0),
    "critic-explains-nothing",
    `the critic's explained variance has been below 0 for ${window} steps: its values are worse than a constant, and only add noise to the advantages. ` +
      "Raise criticLearningRate, set criticWarmup, or use grpo, which has no critic.",
  );
}

/** Warns when there is little to learn. @param share of prompts whose responses all have the same score, 0 to 1 */
export function flatRewards(share: number): Warning[] {
  return warnIf(
    share > 0.9,
    "flat-rewards",
    `on ${Math.round(share * 100)} % of the prompts all responses have the same score: there is nothing to learn from them. ` +
      "Raise the temperature or samplesPerPrompt, take prompts that are neither too easy nor too hard, or a reward with more levels.",
  );
}
