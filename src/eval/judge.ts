import type { Constitution } from "../constitution/constitution.ts";
import type { Feedback } from "../constitution/feedback.ts";
import { prefer } from "../constitution/prefer.ts";
import type { Prompt } from "../data/records.ts";
import type { Scorer } from "../rewards/scorer.ts";
import { sigmoid } from "./logistic.ts";
import type { AnswerMatch, MatchVerdict } from "./policies.ts";

// Who tells which of two answers is better: any reward, or a model that reads both.

/** Judges matches of answers to `prompts`. @returns verdicts in the order of the matches */
export type Judge = (
  prompts: readonly Prompt[],
  matches: readonly AnswerMatch[],
  options?: JudgeOptions,
) => Promise<MatchVerdict[]>;

interface JudgeOptions {
  signal?: AbortSignal | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Makes a judge of a reward: the answer with the higher score is better. Each answer is scored once. */
export function rewardJudge(scorer: Scorer): Judge {
  return async (prompts, matches, { signal, onProgress } = {}) => {
    const answers = [...new Set(matches.flatMap(({ first, second }) => [first.answer, second.answer]))];
    const scored = await scoreAnswers(scorer, prompts, answers, { signal, onProgress });
    const scores = new Map(answers.map((answer, i) => [answer, scored[i] as number]));
    return matches.map(({ first, second }) => {
      const difference = (scores.get(first.answer) as number) - (scores.get(second.answer) as number);
      return { outcome: (Math.sign(difference) + 1) / 2 };
    });
  };
}

/** Answers scored together. */
const scoredAtOnce = 64;

/** Scores answers to prompts. @returns scores in the order of the answers */
export async function scoreAnswers(
  scorer: Scorer,
  prompts: readonly Prompt[],
  answers: readonly { promptIndex: number; text: string }[],
  { signal, onProgress }: JudgeOptions = {},
): Promise<number[]> {
  const scores: number[] = [];
  while (scores.length < answers.length) {
    const part = answers.slice(scores.length, scores.length + scoredAtOnce);
    const scored = await scorer.score(
      part.map(({ promptIndex, text }) => ({ ...(prompts[promptIndex] as Prompt), text })),
      signal,
    );
    scores.push(...scored.map(({ score }) => score));
    onProgress?.(scores.length, answers.length);
  }
  return scores;
}

/**
 * Makes a judge of a model that reads both answers, in both orders, by the principles of a constitution. A preference is the
 * probability that the model gives the first answer, its log-odds being the mean over both orders; each principle is a
 * criterion.
 */
export function modelJudge(feedback: Feedback, constitution: Constitution): Judge {
  return async (prompts, matches, { signal, onProgress } = {}) => {
    const judged = await prefer(
      matches.map(({ first, second }) => ({
        prompt: (prompts[first.answer.promptIndex] as Prompt).prompt,
        answers: [first.answer.text, second.answer.text],
      })),
      {
        ...{ constitution, feedback, think: false, maxTokens: 1, temperature: 0, seed: 0 },
        signal,
        onProgress,
      },
    );
    return judged.map(({ logOdds, verdicts }) => ({
      outcome: sigmoid(logOdds),
      consistent: verdicts.every(({ shownFirst, shownSecond }) => shownFirst * shownSecond > 0),
      criteria: Object.fromEntries(
        verdicts.map(({ principle, shownFirst, shownSecond }) => [
          principle,
          sigmoid((shownFirst + shownSecond) / 2),
        ]),
      ),
    }));
  };
}
