import { readConstitution } from "../constitution/constitution.ts";
import { openFeedback } from "../constitution/open-feedback.ts";
import type { Comparison, Message, Prompt } from "../data/records.ts";
import { type Judge, modelJudge, rewardJudge } from "../eval/judge.ts";
import type { AnswerMatch, MatchVerdict } from "../eval/policies.ts";
import { openReward, type RewardInput } from "../rewards/open.ts";
import { groupBy } from "../statistics/groups.ts";
import { mean } from "../statistics/numbers.ts";
import type { LoopConfig } from "./config.ts";
import type { AnswersToPrompt } from "./labelers.ts";

// Who tells whether a round's policy answers better than the last.

/** Opens the judge of a loop: its reward, or its labelers. @returns "people" where they judge */
export async function openJudge({
  evaluation,
  labelers: { simulated, ai, people },
}: LoopConfig): Promise<{ judge: Judge; dispose: () => void } | "people"> {
  if (evaluation.reward === undefined && people) return "people";
  if (evaluation.reward === undefined && ai) {
    const constitution = readConstitution(ai.constitution);
    const [feedback, dispose] = await openFeedback(ai.model, ai.endpoint, {});
    return { judge: modelJudge(feedback, constitution), dispose };
  }
  const scorer = await openReward((evaluation.reward ?? simulated?.reward) as RewardInput);
  return { judge: rewardJudge(scorer), dispose: () => scorer.dispose() };
}

/** Identifies a pair of answers to a prompt, whatever their order. */
const pairKey = (prompt: readonly Message[], texts: readonly string[]): string =>
  JSON.stringify([prompt, [...texts].sort()]);

const textsOf = ({ first, second }: AnswerMatch): string[] => [first.answer.text, second.answer.text];

/** Makes tasks for people of matches whose answers differ. The label app shows answers in a random order, without names. */
export function tasksOfMatches(
  prompts: readonly Prompt[],
  matches: readonly AnswerMatch[],
): AnswersToPrompt[] {
  const tasks = new Map<string, AnswersToPrompt>();
  for (const match of matches) {
    const { prompt } = prompts[match.first.answer.promptIndex] as Prompt;
    const completions = textsOf(match);
    if (completions[0] !== completions[1]) tasks.set(pairKey(prompt, completions), { prompt, completions });
  }
  return [...tasks.values()];
}

/** Computes verdicts of what people judged. Equal answers, and pairs that nobody could decide, are ties. */
export function verdictsOfPeople(
  prompts: readonly Prompt[],
  matches: readonly AnswerMatch[],
  comparisons: readonly Comparison[],
): MatchVerdict[] {
  const byPair = groupBy(comparisons, ({ prompt, completions }) => pairKey(prompt, completions));
  return matches.map((match) => {
    const { prompt } = prompts[match.first.answer.promptIndex] as Prompt;
    const texts = textsOf(match);
    const outcomes = (byPair.get(pairKey(prompt, texts)) ?? []).map(({ completions, ranks }) => {
      const [first, second] = texts.map((text) => ranks[completions.indexOf(text)] as number);
      return (Math.sign((second as number) - (first as number)) + 1) / 2;
    });
    return { outcome: outcomes.length ? mean(outcomes) : 0.5 };
  });
}
