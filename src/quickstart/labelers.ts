import { ranksWithTies } from "../statistics/numbers.ts";
import { normal, uniform } from "../statistics/random.ts";
import { gold, type Instruction } from "./task.ts";

// Simulated labelers, who rank answers and make mistakes.

/** A simulated labeler, who perceives the gold score plus biases plus noise. */
export interface Labeler {
  name: string;
  /** Standard deviation of the noise, on the scale of the gold score. */
  noise: number;
  /** Bias for each 10 words of an answer, up to 30 words: positive for a taste for long answers. */
  lengthBias: number;
  /** Bias for an answer that starts with a capital and ends with `.`, `!` or `?`. */
  tidinessBias: number;
}

/** An answer to rank. `finished` is false if it was cut off at the length limit. */
export interface Answer {
  text: string;
  finished: boolean;
}

/** Perceived scores that differ by at most this are a tie: nearly half of the pairs have equal gold scores. */
const tieMargin = 0.15;

/** Makes five labelers, from careful to careless, with noise of 0.05 to 0.2. */
export function labelers(seed: number): Labeler[] {
  const random = uniform(seed);
  const people = [
    { name: "ada", lengthBias: 0, tidinessBias: 0 },
    { name: "ben", lengthBias: 0.03, tidinessBias: 0 },
    { name: "chloe", lengthBias: 0, tidinessBias: 0.05 },
    { name: "dev", lengthBias: -0.02, tidinessBias: 0 },
    { name: "ella", lengthBias: 0.02, tidinessBias: 0.03 },
  ];
  return people.map((person, i) => ({ ...person, noise: 0.05 + 0.03 * (i + random()) }));
}

/**
 * Ranks answers as a labeler would: 1 is the best; ties share a rank.
 * @param random returns uniform numbers in [0, 1), for the noise
 */
export function rank(
  instruction: Instruction,
  completions: readonly Answer[],
  labeler: Labeler,
  random: () => number,
): number[] {
  const perceived = completions.map(
    (answer) =>
      gold(instruction, answer.text, answer) + bias(answer.text, labeler) + labeler.noise * normal(random),
  );
  return ranksWithTies(perceived, tieMargin);
}

/** Computes a labeler's bias for an answer. */
function bias(text: string, { lengthBias, tidinessBias }: Labeler): number {
  const length = Math.min(30, text.trim().split(/\s+/).length);
  return (lengthBias * length) / 10 + (/^\p{Lu}.*[.!?]$/su.test(text.trim()) ? tidinessBias : 0);
}
