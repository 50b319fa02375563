import type { Comparison, Message } from "../data/records.ts";
import { principlesFor } from "./constitution.ts";
import type { Feedback, PhaseOptions } from "./feedback.ts";

/** Two answers to a prompt. */
export interface Pair {
  prompt: Message[];
  id?: string | undefined;
  answers: [string, string];
}

/** What a principle said of a pair. */
export interface Verdict {
  principle: string;
  /** log P(first is better) − log P(second is better), with the first shown first, and shown second. */
  shownFirst: number;
  shownSecond: number;
  /** What was thought before, in both orders. */
  thoughts?: [string, string];
}

/** A pair and what was said of it: a line of the log. */
export interface Judged extends Pair {
  verdicts: Verdict[];
  /** Log-odds that the first is better: the mean of both orders and, by their weights, of the principles. */
  logOdds: number;
}

export interface PreferOptions extends PhaseOptions {
  feedback: Feedback;
  /** Lets it think aloud before it answers (Bai et al. 2022b, §4.1). */
  think: boolean;
}

/** What the model says before the letter. */
const begun = "The better answer is (";

/**
 * Preference labels of a model that is asked by principles (Bai et al. 2022b, §4; Lee et al. 2023, §2.2): log-odds of
 * the two answers, averaged over both orders, so that a taste for what is shown first cancels, and over principles.
 */
export async function prefer(
  pairs: readonly Pair[],
  { constitution, feedback, think, onPhase = () => {}, ...options }: PreferOptions,
): Promise<Judged[]> {
  const principles = principlesFor(constitution, "preference");
  const verdicts: Verdict[][] = pairs.map(() => []);
  for (const { name, preference } of principles) {
    const asked = pairs.flatMap(({ prompt, answers: [first, second] }) => [
      question(prompt, first, second, preference as string),
      question(prompt, second, first, preference as string),
    ]);
    let thoughts: string[] | undefined;
    if (think) {
      onPhase(`${feedback.name} thinks about ${pairs.length} pairs: ${name}`);
      const aloud = asked.map((text): Message[] => [
        user(`${text}\n\nThink step by step, and do not name a letter yet.`),
      ]);
      thoughts = await feedback.write(aloud, options);
    }
    onPhase(`${feedback.name} compares ${pairs.length} pairs: ${name}`);
    const odds = await feedback.logOdds(
      asked.map((text, i): Message[] =>
        thoughts
          ? [user(text), { role: "assistant", content: thoughts[i] as string }, user("So which is better?")]
          : [user(text)],
      ),
      begun,
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
  const whole = principles.reduce((sum, { weight }) => sum + weight, 0);
  return pairs.map((pair, i) => {
    const said = verdicts[i] as Verdict[];
    const logOdds = said.reduce(
      (sum, { principle, shownFirst, shownSecond }) =>
        sum + ((weights.get(principle) as number) / whole) * ((shownFirst + shownSecond) / 2),
      0,
    );
    return { ...pair, verdicts: said, logOdds };
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
 * A judged pair as a comparison with a soft label, and with what each principle said as its comment.
 * @param labeler who it counts as @param scale of the log-odds, from `calibrate`
 */
export function comparisonOf(
  { prompt, answers, logOdds, verdicts, labeler }: Judged & { labeler: string },
  scale = 1,
): Comparison & { comment: string } {
  const probability = 1 / (1 + Math.exp(-Math.abs(scale * logOdds)));
  const firstWins = scale * logOdds >= 0;
  const comment = verdicts.map((verdict) => inWords(verdict, firstWins)).join("\n");
  const ranks = firstWins ? [0, 1] : [1, 0];
  return { prompt, completions: [...answers], ranks, probability, labeler, comment };
}

/** Of the better one, since a label store keeps the two in no order. */
function inWords(
  { principle, shownFirst, shownSecond, thoughts = ["", ""] }: Verdict,
  firstWins: boolean,
): string {
  const [first, second] = firstWins ? [shownFirst, shownSecond] : [-shownSecond, -shownFirst];
  const odds = (value: number) => `${value < 0 ? "" : "+"}${value.toFixed(2)}`;
  const said = `${principle}: log-odds of the better one ${odds(first)} shown first, ${odds(second)} shown second`;
  return [said, ...thoughts].filter(Boolean).join("\n");
}
