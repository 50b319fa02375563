import type { Constitution } from "../constitution/constitution.ts";
import type { Feedback } from "../constitution/feedback.ts";
import type { Prompt } from "../data/records.ts";
import type { Scorer } from "../rewards/scorer.ts";
import { modelJudge, scoreAnswers } from "./judge.ts";

interface GoldAnswer {
  promptIndex: number;
  text: string;
}

/**
 * Measures answers to `prompts` by something that the policy does not learn from.
 * @param first texts of the first check's answers, in the same order; undefined at the first check
 * @returns a number for each answer, higher for better ones
 */
export type Gold = (
  prompts: readonly Prompt[],
  answers: readonly GoldAnswer[],
  first: readonly string[] | undefined,
) => Promise<number[]>;

/** Gold that scores each answer by itself. */
export const scoredGold =
  (scorer: Scorer): Gold =>
  (prompts, answers) =>
    scoreAnswers(scorer, prompts, answers);

/**
 * Gold of a model that judges by principles: the probability that it prefers an answer to the one that the policy gave to
 * the same prompt before training, one half at the first check.
 */
export function judgedGold(feedback: Feedback, constitution: Constitution): Gold {
  const judge = modelJudge(feedback, constitution);
  return async (prompts, answers, first) => {
    if (!first) return answers.map(() => 0.5);
    const toAnswer = ({ promptIndex, text }: GoldAnswer) => ({
      promptIndex,
      text,
      tokens: 0,
      finished: true,
    });
    const verdicts = await judge(
      prompts,
      answers.map((answer, i) => ({
        first: { policy: "now", answer: toAnswer(answer) },
        second: { policy: "before", answer: toAnswer({ ...answer, text: first[i] as string }) },
      })),
    );
    return verdicts.map(({ outcome }) => outcome);
  };
}
