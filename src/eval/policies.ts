import type { Prompt } from "../data/records.ts";
import { type Interval, mean } from "../math/index.ts";
import { bootstrap, shareInterval } from "../statistics/bootstrap.ts";
import { type CountAndSum, countAndSum } from "../statistics/estimate.ts";
import { groupBy } from "../statistics/groups.ts";
import { bradleyTerry, type Match } from "./bradley-terry.ts";
import { lengthControlledWinRate } from "./length-control.ts";
import { styleDifference } from "./style.ts";

// Policies compared on the same prompts. Whatever judges, what is counted is how often one answer is better than another.

/** An answer of a policy to a prompt. */
export interface PolicyAnswer {
  promptIndex: number;
  text: string;
  /** Number of its tokens. */
  tokens: number;
  /** Whether it reached a stop token. */
  finished: boolean;
  /** log π − log π_ref of the answer, in nats, if there is a reference. */
  kl?: number;
  /** Log-probability of the answer's tokens under the reference at temperature 1, in nats, if there is one. */
  referenceLogprob?: number;
  /** Whether its prompt asks for something harmful, where the prompt is marked. */
  harmful?: boolean;
  /** Whether it refuses, where the prompt is marked `harmful` or harmless. */
  refused?: boolean;
}

export interface Policy {
  name: string;
  /** As many answers to each prompt as the other policies have, in the order of the prompts. */
  answers: readonly PolicyAnswer[];
  /** Mean negative log-likelihood of each held-out demonstration's tokens, in nats, if there are any. */
  losses?: readonly number[];
}

/** Two answers to a prompt, of two policies. */
export interface AnswerMatch {
  first: { policy: string; answer: PolicyAnswer };
  second: { policy: string; answer: PolicyAnswer };
}

/** A judge's verdict on a match. */
export interface MatchVerdict {
  /** From 0 to 1: how much better the first answer is. One half is a tie. */
  outcome: number;
  /** How much it counts. Default: 1. */
  weight?: number;
  /** Whether it was the same with the answers in the other order; undefined for a judge that sees one at a time. */
  consistent?: boolean;
  /** The outcome by each criterion that the judge, or the prompt, names, such as "helpful". */
  criteria?: Readonly<Record<string, number>>;
}

/** Adds the outcome of matches whose prompt's row names a `criterion`, such as "helpful", under that name. */
export const withPromptCriteria = (
  prompts: readonly Prompt[],
  matches: readonly AnswerMatch[],
  verdicts: readonly MatchVerdict[],
): MatchVerdict[] =>
  verdicts.map((verdict, i) => {
    const { promptIndex } = (matches[i] as AnswerMatch).first.answer;
    const criterion = prompts[promptIndex]?.metadata?.criterion;
    if (typeof criterion !== "string") return verdict;
    return { ...verdict, criteria: { ...verdict.criteria, [criterion]: verdict.outcome } };
  });

/** Pairs each answer of each policy with the answer of the same place of each other policy. */
export const matchesOf = (policies: readonly Policy[]): AnswerMatch[] =>
  policies.flatMap((a, i) =>
    policies.slice(i + 1).flatMap((b) =>
      a.answers.map((answer, place) => ({
        first: { policy: a.name, answer },
        second: { policy: b.name, answer: b.answers[place] as PolicyAnswer },
      })),
    ),
  );

/** How a policy does. Intervals are 95 %, over prompts. */
export interface PolicyResult {
  name: string;
  /** How often its answer is better than the baseline's; undefined for the baseline, and where no such match is judged. */
  winRate?: Interval;
  /** The same if its answers were as long as the baseline's (AlpacaEval 2's way). */
  lengthControlled?: Interval;
  /** Bradley-Terry log-ability, from the matches of all policies; undefined where none of its matches is judged. */
  rating?: Interval;
  /** The same at equal style: length, headers, lists, bold. */
  ratingAtEqualStyle?: Interval;
  /** Mean tokens of an answer. */
  tokens: Interval;
  /** Share of answers that reached a stop token. */
  finished: number;
  /** KL to the reference in nats per answer: the k1 estimate on the policy's own answers. */
  kl?: Interval;
  /** Perplexity of its answers under the reference, per token. */
  perplexity?: Interval;
  /** Share of answers that refuse a harmless request, and of those that answer a harmful one, where prompts are marked. */
  refusals?: { ofHarmless?: Interval; answersToHarmful?: Interval };
  /** Mean loss on demonstrations, in nats per token; and how much higher it is than the baseline's (the alignment tax). */
  loss?: { value: Interval; tax?: Interval };
}

export interface PoliciesReport {
  /** The first policy, with which the others are compared. */
  baseline: string;
  /** Number of prompts with a judged match. */
  prompts: number;
  /** Number of judged matches. */
  matches: number;
  policies: PolicyResult[];
  /** By each criterion that the judge or prompts name: each policy's win rate against the baseline. */
  criteria: Record<string, Record<string, Interval>>;
  /** Share of matches that are judged the same in both orders; undefined for a judge that sees one answer at a time. */
  consistency?: number;
}

/**
 * Summarises the verdicts on the matches of policies.
 * @param matches those that are judged, one at least @param verdicts in the order of `matches`
 */
export function reportOn(
  policies: readonly Policy[],
  matches: readonly AnswerMatch[],
  verdicts: readonly MatchVerdict[],
): PoliciesReport {
  const baseline = policies[0] as Policy;
  const judged = matches.map((match, i) => ({ ...match, verdict: verdicts[i] as MatchVerdict }));
  const played = judged.map(
    ({ first, second, verdict }): Match => ({
      first: first.policy,
      second: second.policy,
      outcome: verdict.outcome,
      weight: verdict.weight ?? 1,
      prompt: first.answer.promptIndex,
    }),
  );
  const styles = judged.map(({ first, second }) => styleDifference(first.answer.text, second.answer.text));
  const raw = bradleyTerry(played);
  const controlled = bradleyTerry(played.map((match, i) => ({ ...match, style: styles[i] as number[] })));
  /** The judged matches of a policy with the baseline, which is always the first. */
  const against = (name: string) =>
    judged.filter(({ first, second }) => first.policy === baseline.name && second.policy === name);
  const criteria = [...new Set(verdicts.flatMap(({ criteria = {} }) => Object.keys(criteria)))];
  const others = policies.slice(1).map(({ name }) => name);
  const consistent = verdicts.flatMap(({ consistent }) => (consistent === undefined ? [] : [consistent]));
  return {
    baseline: baseline.name,
    prompts: new Set(played.map(({ prompt }) => prompt)).size,
    matches: matches.length,
    policies: policies.map(({ name, answers, losses }) => ({
      name,
      ...winRates(against(name)),
      ...defined("rating", raw.ratings.get(name)),
      ...defined("ratingAtEqualStyle", controlled.ratings.get(name)),
      tokens: overPrompts(answers, ({ tokens }) => tokens),
      finished: mean(answers.map(({ finished }) => Number(finished))),
      ...(answers[0]?.kl !== undefined && { kl: overPrompts(answers, ({ kl }) => kl as number) }),
      ...(answers[0]?.referenceLogprob !== undefined && { perplexity: perplexityOf(answers) }),
      ...refusalsOf(answers),
      ...(losses && { loss: lossOf(losses, name === baseline.name ? undefined : baseline.losses) }),
    })),
    criteria: Object.fromEntries(
      criteria.map((criterion) => [
        criterion,
        Object.fromEntries(
          others.flatMap((name) => {
            const rate = winRate(against(name), ({ criteria = {} }) => criteria[criterion]);
            return rate ? [[name, rate]] : [];
          }),
        ),
      ]),
    ),
    ...(consistent.length > 0 && { consistency: mean(consistent.map(Number)) }),
  };
}

/** A match of a policy with the baseline, which is the first, and its verdict. */
type JudgedMatch = AnswerMatch & { verdict: MatchVerdict };

/** Computes a policy's win rate against the baseline, raw and at equal length; nothing without matches. */
function winRates(against: readonly JudgedMatch[]): Pick<PolicyResult, "winRate" | "lengthControlled"> {
  const raw = winRate(against, ({ outcome }) => outcome);
  if (!raw) return {};
  const judged = against.map(({ first, second, verdict }) => ({
    preference: 1 - verdict.outcome,
    weight: verdict.weight ?? 1,
    lengthDifference: second.answer.text.length - first.answer.text.length,
    prompt: first.answer.promptIndex,
  }));
  return { winRate: raw, lengthControlled: lengthControlledWinRate(judged) };
}

/** Computes the weighted share of matches that the policy wins, by an outcome of theirs; undefined if none has it. */
function winRate(
  against: readonly JudgedMatch[],
  outcomeOf: (verdict: MatchVerdict) => number | undefined,
): Interval | undefined {
  const wins = against.flatMap(({ first, verdict }) => {
    const outcome = outcomeOf(verdict);
    const { weight = 1 } = verdict;
    return outcome === undefined ? [] : [{ prompt: first.answer.promptIndex, weight, win: 1 - outcome }];
  });
  if (!wins.length) return undefined;
  return pooled(
    [...groupBy(wins, ({ prompt }) => prompt).values()].map((ofPrompt) => ({
      count: ofPrompt.reduce((sum, { weight }) => sum + weight, 0),
      sum: ofPrompt.reduce((sum, { weight, win }) => sum + weight * win, 0),
    })),
  );
}

/** Computes the perplexity of a policy's answers under the reference, with its interval over prompts. */
function perplexityOf(answers: readonly PolicyAnswer[]): Interval {
  const byPrompt = groupBy(answers, ({ promptIndex }) => promptIndex);
  // The interval is that of the logarithm, so that it has no negative end.
  const { value, low, high } = pooled(
    [...byPrompt.values()].map((ofPrompt) => ({
      count: ofPrompt.reduce((sum, { tokens }) => sum + tokens, 0),
      sum: -ofPrompt.reduce((sum, { referenceLogprob }) => sum + (referenceLogprob as number), 0),
    })),
  );
  return { value: Math.exp(value), low: Math.exp(low), high: Math.exp(high) };
}

/** Counts refusals of harmless requests and answers to harmful ones, with intervals over prompts. */
function refusalsOf(answers: readonly PolicyAnswer[]): Pick<PolicyResult, "refusals"> {
  const share = (harmful: boolean): Interval | undefined => {
    const marked = answers.filter((answer) => answer.harmful === harmful);
    if (!marked.length) return undefined;
    return shareInterval(
      [...groupBy(marked, ({ promptIndex }) => promptIndex).values()].map((ofPrompt) => ({
        wins: ofPrompt.filter(({ refused = false }) => refused !== harmful).length,
        total: ofPrompt.length,
      })),
    );
  };
  const refusals = {
    ...defined("ofHarmless", share(false)),
    ...defined("answersToHarmful", share(true)),
  };
  return Object.keys(refusals).length ? { refusals } : {};
}

/** Returns an object with the property, or without it if the value is undefined. */
const defined = <K extends string, V>(key: K, value: V | undefined): { [key in K]?: V } =>
  (value === undefined ? {} : { [key]: value }) as { [key in K]?: V };

/** Computes the mean of a measure of answers with its interval over prompts. */
const overPrompts = (answers: readonly PolicyAnswer[], measure: (answer: PolicyAnswer) => number): Interval =>
  pooled(
    [...groupBy(answers, ({ promptIndex }) => promptIndex).values()].map((ofPrompt) =>
      countAndSum(ofPrompt.map(measure)),
    ),
  );

/** Computes the mean loss, and by how much it exceeds the baseline's, paired by demonstration. */
const lossOf = (
  losses: readonly number[],
  baseline?: readonly number[],
): NonNullable<PolicyResult["loss"]> => ({
  value: bootstrap(losses, mean),
  ...(baseline && {
    tax: bootstrap(
      losses.map((loss, i) => loss - (baseline[i] as number)),
      mean,
    ),
  }),
});

/** Computes the mean of all clusters' values with its interval. */
const pooled = (clusters: readonly CountAndSum[]): Interval =>
  bootstrap(clusters, (sample) => {
    const count = sample.reduce((sum, cluster) => sum + cluster.count, 0);
    return sample.reduce((sum, cluster) => sum + cluster.sum, 0) / count;
  });
