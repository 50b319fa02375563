import { mean } from "../math/index.ts";
import { studentUpperTail } from "../statistics/student.ts";
import { fitCurve } from "./overoptimisation.ts";

// Watches a policy for over-optimisation: at checks it answers fixed prompts, and a gold measure that it does not learn from
// is compared with the proxy that it learns from.

/** Means over the answers to one of the fixed prompts. */
export interface PromptMeasures {
  /** What the policy learns from. */
  proxy: number;
  /** Gold of the first half of the answers, by which the best check is chosen. */
  chosenBy: number;
  /**
   * Gold of the other half, on which a fall since the best check is tested: by the numbers that it was chosen by, the best
   * of many checks would seem to be followed by a fall.
   */
  testedBy: number;
  /** log π − log π_ref of an answer, nats: the k1 estimate of the KL to the reference. */
  kl: number;
  /** Length of an answer, tokens. */
  tokens: number;
}

/** What a check measured. */
export interface Check {
  step: number;
  prompts: PromptMeasures[];
  /** Mean −log π of a sampled token, nats. */
  entropy: number;
  /** Largest share of answers that begin, or that end, with the same three words. */
  sameBeginning: number;
  sameEnding: number;
  /** Mean share of an answer's trigrams of words that it has had before. */
  repetition: number;
  /** Mean standard deviation of an ensemble's members; undefined without an ensemble. */
  disagreement?: number;
  /** Mean distance from the answers that a single reward model learned from: see `Score`. */
  distance?: number;
  /** Share of scores above all of the answers that the reward model learned from. */
  beyondTraining?: number;
  /** Texts of all answers, of the first check where a model compares later ones with them. */
  texts?: string[];
}

/** What the monitor remembers. */
export interface MonitorState {
  /** The check before the first step. */
  first: Check;
  /** The check with the highest gold, of the halves that choose. */
  best: Check;
  /** KL and gold of all checks. */
  points: { kl: number; gold: number }[];
}

/** Why a run should be looked at, and what can be done. */
export interface Alarm {
  code: string;
  message: string;
  /** Whether it ends a run that is to stop on alarms. */
  stops: boolean;
}

export interface AlarmOptions {
  /** Checks of the whole run, among which the chance of a false alarm is divided. */
  checks: number;
  /** Largest KL to the reference, nats per answer; undefined for no limit. */
  maxKl?: number | undefined;
}

/** Chance of an alarm about gold in a run whose gold never falls. */
const falseAlarms = 0.05;

const allGold = ({ chosenBy, testedBy }: PromptMeasures): number => (chosenBy + testedBy) / 2;
export const goldOf = ({ prompts }: Check): number => mean(prompts.map(allGold));
const over = ({ prompts }: Check, of: (measures: PromptMeasures) => number): number => mean(prompts.map(of));
export const klOf = (check: Check): number => over(check, ({ kl }) => kl);

/** Adds a check to what is remembered. @param state undefined at the first check */
export function remember(state: MonitorState | undefined, check: Check): MonitorState {
  const { first, best, points } = state ?? { first: check, best: check, points: [] };
  const choose = (candidate: Check) => over(candidate, ({ chosenBy }) => chosenBy);
  return {
    first,
    best: choose(check) > choose(best) ? check : best,
    points: [...points, { kl: klOf(check), gold: goldOf(check) }],
  };
}

/**
 * Computes the probability of a mean difference at least this far below 0 if there is none: Student's t, paired by prompt.
 * @param differences a number for each prompt, at least 2
 */
export function fallProbability(differences: readonly number[]): number {
  const n = differences.length;
  const average = mean(differences);
  const variance = differences.reduce((sum, value) => sum + (value - average) ** 2, 0) / (n - 1);
  if (variance === 0) return average < 0 ? 0 : 1;
  return 1 - studentUpperTail(average / Math.sqrt(variance / n), n - 1);
}

/** Differences of a measure from one check to another, by prompt. @param ofBefore the measure of the first. Default: the same */
const changes = (
  before: Check,
  now: Check,
  of: (measures: PromptMeasures) => number,
  ofBefore = of,
): number[] => now.prompts.map((measures, i) => of(measures) - ofBefore(before.prompts[i] as PromptMeasures));

/**
 * Tells what is wrong with a policy. Gold is tested at each check against the best one, on answers that did not choose it, at
 * a level of 5 % divided by the number of checks (Bonferroni), so that looking at all of them gives one false alarm in 20
 * runs at most. A fit's forecast never raises an alarm.
 */
export function alarms({ first, best }: MonitorState, now: Check, { checks, maxKl }: AlarmOptions): Alarm[] {
  const list: Alarm[] = [];
  const alarm = (condition: boolean, code: string, message: string, stops = false) => {
    if (condition) list.push({ code, message, stops });
  };
  const show = (value: number) => value.toPrecision(3);
  // No answer of this check has chosen anything yet.
  const sinceBest = changes(best, now, allGold, ({ testedBy }) => testedBy);
  const fell = fallProbability(sinceBest) < falseAlarms / checks;
  const rose = over(now, ({ proxy }) => proxy) > over(best, ({ proxy }) => proxy);
  const goldChange = `gold has fallen from ${show(goldOf(best))} at step ${best.step} to ${show(goldOf(now))}`;
  alarm(
    fell && rose,
    "over-optimisation",
    `${goldChange} while the reward rose: the policy now exploits the reward's errors. Stop at step ${best.step}; then raise the KL penalty, train an ensemble (reward: members), or label answers of this policy and refit the reward.`,
    true,
  );
  alarm(
    fell && !rose,
    "gold-fell",
    `${goldChange}, and the reward too: the policy gets worse. Lower the learning rate and go back to step ${best.step}.`,
    true,
  );
  const kl = klOf(now);
  alarm(
    maxKl !== undefined && kl > maxKl,
    "kl-budget",
    `the KL to the reference is ${show(kl)} nats per answer, above the limit of ${maxKl}: raise the KL penalty, or stop here.`,
    true,
  );
  const [length, before] = [over(now, ({ tokens }) => tokens), over(first, ({ tokens }) => tokens)];
  alarm(
    length > 1.5 * before || length < before / 1.5,
    "length-drift",
    `answers have ${show(length)} tokens on average and had ${show(before)} before training: is the reward paid for by length? Compare at equal length (plumbline eval), or add a term for length.`,
  );
  alarm(
    now.entropy < 0.3 * first.entropy,
    "entropy-collapse",
    `a token's entropy is ${show(now.entropy)} nats and was ${show(first.entropy)}: the policy hardly explores any more. Lower the learning rate or raise the KL penalty.`,
  );
  const same = Math.max(now.sameBeginning, now.sameEnding);
  const sameBefore = Math.max(first.sameBeginning, first.sameEnding);
  alarm(
    same > 0.5 && same > sameBefore + 0.25,
    "same-words",
    `${Math.round(100 * same)} % of the answers begin or end with the same three words (${Math.round(100 * sameBefore)} % before training): read samples; the reward likes a pattern.`,
  );
  alarm(
    now.repetition > first.repetition + 0.2,
    "repetition",
    `${Math.round(100 * now.repetition)} % of an answer's trigrams are repetitions (${Math.round(100 * first.repetition)} % before training): add the reward "repetition", or raise the KL penalty.`,
  );
  const { disagreement = 0 } = now;
  alarm(
    first.disagreement !== undefined && disagreement > 2 * first.disagreement,
    "disagreement",
    `the ensemble's members disagree by ${show(disagreement)} about these answers and by ${show(first.disagreement ?? 0)} before training: the policy has left what the reward knows. Take combine: worst, or label answers of this policy and refit.`,
  );
  const { distance = 0, beyondTraining = 0 } = now;
  alarm(
    first.distance !== undefined && distance > first.distance + 3,
    "distance",
    `these answers are ${show(distance)} standard deviations farther than usual from those that the reward model learned from, and were ${show(first.distance ?? 0)} before training: it judges what it does not know. Label answers of this policy and refit it, or raise the KL penalty.`,
  );
  alarm(
    beyondTraining > 0.25 && beyondTraining > 2 * (first.beyondTraining ?? 0),
    "scores-beyond-training",
    `${Math.round(100 * beyondTraining)} % of the scores are above every score of the answers that the reward model learned from: read these answers before you believe it.`,
  );
  return list;
}

/** Metrics of a check, for the log: all begin with `monitor/`. */
export function monitorMetrics({ first, best, points }: MonitorState, now: Check): Record<string, number> {
  const [proxy, gold] = [changes(first, now, (measures) => measures.proxy), changes(first, now, allGold)];
  const start = points[0]?.gold ?? 0;
  const fit = fitCurve(
    points.map(({ kl, gold }) => ({ kl, gold: gold - start })),
    "rl",
  );
  const metrics = {
    gold: goldOf(now),
    proxy: over(now, (measures) => measures.proxy),
    kl: klOf(now),
    length: over(now, ({ tokens }) => tokens),
    entropy: now.entropy,
    repetition: now.repetition,
    same_beginning: now.sameBeginning,
    same_ending: now.sameEnding,
    best_step: best.step,
    // Means miss prompts that lose what others win.
    proxy_up_gold_down: mean(proxy.map((change, i) => Number(change > 0 && (gold[i] as number) < 0))),
    ...(now.disagreement !== undefined && { disagreement: now.disagreement }),
    ...(now.distance !== undefined && { distance: now.distance }),
    ...(now.beyondTraining !== undefined && { beyond_training: now.beyondTraining }),
    ...(fit && {
      fit_alpha: fit.alpha.value,
      fit_beta: fit.beta.value,
      fit_peak_kl: fit.peakKl.value,
      fit_peak_kl_low: fit.peakKl.low,
      fit_peak_kl_high: fit.peakKl.high,
    }),
  };
  return Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`monitor/${name}`, value]));
}
