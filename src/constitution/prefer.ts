import type { Comparison, Message } from "../data/records.ts";
import { principlesFor } from "./constitution.ts";
import type { Feedback, PhaseOptions } from "./feedback.ts";

/** Two answers to a prompt. */
export interface AnswerPair {
  prompt: Message[];
  id?: string | undefined;
  answers: [string, string];
}

/** Judgement of a pair by one principle. */
export interface Verdict {
  principle: string;
  /** log P(first is better) − log P(second is better) when the first answer is shown first. */
  shownFirst: number;
  /** The same when the first answer is shown second. */
  shownSecond: number;
  /** Reasoning before the verdict, in both orders. */
  thoughts?: [string, string];
}

/** A pair with its verdicts: a line of the log. */
export interface JudgedPair extends AnswerPair {
  verdicts: Verdict[];
  /** Log-odds that the first is better: the mean over both orders and the weighted mean over principles. */
  logOdds: number;
}

export interface PreferOptions extends PhaseOptions {
  feedback: Feedback;
  /** Lets the model reason step by step before it answers (Bai et al. 2022b, §4.1). */
  think: boolean;
}

/** Start of the model's answer, before the letter. */
const answerPrefill = "The better answer is (";

/**
 * Labels pairs with a feedback model's preferences by principles (Bai et al. 2022b, §4; Lee et al. 2023, §2.2). The
 * log-odds are averaged over principles, and over both orders of the answers, so that position bias cancels.
 */
export async function prefer(
  pairs: readonly AnswerPair[],
  { constitution, feedback, think, onPhase = () => {}, ...options }: PreferOptions,
): Promise<JudgedPair[]> {
  const principles = principlesFor(constitution, "preference");
  const verdicts: Verdict[][] = pairs.map(() => []);
  for (const { name, preference } of principles) {
    const questions = pairs.flatMap(({ prompt, answers: [first, second] }) => [
      question(prompt, first, second, preference as string),
      question(prompt, second, first, preference as string),
    ]);
    let thoughts: string[] | undefined;
    if (think) {
      onPhase(`${feedback.name} thinks about ${pairs.length} pairs: ${name}`);
      const reasoningPrompts = questions.map((text): Message[] => [
        user(`${text}\n\nThink step by step, and do not name a letter yet.`),
      ]);
      thoughts = await feedback.write(reasoningPrompts, options);
    }
    onPhase(`${feedback.name} compares ${pairs.length} pairs: ${name}`);
    const odds = await feedback.logOdds(
      questions.map((text, i): Message[] =>
        thoughts
          ? [user(text), { role: "assistant", content: thoughts[i] as string }, user("So which is better?")]
          : [user(text)],
      ),
      answerPrefill,
      options,
    );
    pairs.forEach((_, i) => {
      const [shownFirst, shownSecond] = [odds[2 * i] as number, -(odds[2 * i + 1] as number)];
      verdicts[i]?.push({
        principle: name,
        shownFirst,
        shownSecond,
        ...(thoughts && { thoughts: [thoughts[2 * i], thoughts[2 * i + 1]] as [string, string] }),
      });
    });
  }
  const weights = new Map(principles.map(({ name, weight }) => [name, weight]));
  const totalWeight = principles.reduce((sum, { weight }) => sum + weight, 0);
  return pairs.map((pair, i) => {
    const pairVerdicts = verdicts[i] as Verdict[];
    const logOdds = pairVerdicts.reduce(
      (sum, { principle, shownFirst, shownSecond }) =>
        sum + ((weights.get(principle) as number) / totalWeight) * ((shownFirst + shownSecond) / 2),
      0,
    );
    return { ...pair, verdicts: pairVerdicts, logOdds };
  });
}

const user = (content: string): Message => ({ role: "user", content });

const question = (prompt: readonly Message[], a: string, b: string, preference: string): string =>
  `Here is a conversation, and two answers to its last message.

${prompt.map(({ role, content }) => `[${role}]\n${content}`).join("\n\n")}

Answer (A):
${a}

Answer (B):
${b}

${preference} Reply with A or B.`;

/**
 * Converts a judged pair to a comparison with a soft label. Its comment has the verdict of each principle.
 * @param scale factor of the log-odds, from `calibrate`
 */
export function toComparison(
  { prompt, answers, logOdds, verdicts, labeler }: JudgedPair & { labeler: string },
  scale = 1,
): Comparison & { comment: string } {
  const probability = 1 / (1 + Math.exp(-Math.abs(scale * logOdds)));
  const firstWins = scale * logOdds >= 0;
  const comment = verdicts.map((verdict) => describeVerdict(verdict, firstWins)).join("\n");
  const ranks = firstWins ? [0, 1] : [1, 0];
  return { prompt, completions: [...answers], ranks, probability, labeler, comment };
}

/** Describes a verdict by the log-odds of the better answer, since a label store does not keep the order of answers. */
function describeVerdict(
  { principle, shownFirst, shownSecond, thoughts = ["", ""] }: Verdict,
  firstWins: boolean,
): string {
  const [first, second] = firstWins ? [shownFirst, shownSecond] : [-shownSecond, -shownFirst];
  const odds = (value: number) => `${value < 0 ? "" : "+"}${value.toFixed(2)}`;
  const verdict = `${principle}: log-odds of the better one ${odds(first)} shown first, ${odds(second)} shown second`;
  return [verdict, ...thoughts].filter(Boolean).join("\n");
}
