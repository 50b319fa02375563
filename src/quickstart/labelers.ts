import { uniform } from "../statistics/random.ts";
import { gold, type Instruction } from "./task.ts";

// People who rank answers and are sometimes wrong, simulated.

/** A simulated person. What they perceive is the gold score, plus leanings of their own, plus noise. */
export interface Labeler {
  name: string;
  /** Standard deviation of the noise, on the scale of the gold score. */
  noise: number;
  /** What they add for each 10 words of an answer, up to 30: some like long answers, some short ones. */
  lengthBias: number;
  /** What they add for an answer that begins with a capital and ends with a full stop, `!` or `?`. */
  tidinessBias: number;
}

/** An answer to judge; `finished` is false where it was cut off at the length limit. */
export interface Answer {
  text: string;
  finished: boolean;
}

/** Perceived scores no further apart than this are a tie: nearly half of the pairs are equally good in truth. */
const tie = 0.15;

/** Five labelers, from careful to careless. The seed decides how noisy each is, from 0.05 to 0.2. */
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
 * The rank a labeler gives each of the answers to an instruction: 1 is the best, and an answer that seems as good as
 * the one above it shares its rank. `random` gives uniform numbers in [0, 1) and decides the noise.
 */
export function rank(
  instruction: Instruction,
  completions: readonly Answer[],
  labeler: Labeler,
  random: () => number,
): number[] {
  const perceived = completions.map(
    (answer) =>
      gold(instruction, answer.text, answer) + leaning(answer.text, labeler) + labeler.noise * normal(random),
  );
  const order = perceived
    .map((_, i) => i)
    .sort((a, b) => (perceived[b] as number) - (perceived[a] as number));
  const ranks = completions.map(() => 1);
  // A tie is with the best of its rank, so that a chain of near misses doesn't make everything equal.
  let best = order[0] ?? 0;
  for (const [place, i] of order.entries()) {
    if ((perceived[best] as number) - (perceived[i] as number) > tie) best = i;
    ranks[i] = best === i ? place + 1 : (ranks[best] as number);
  }
  return ranks;
}

function leaning(text: string, { lengthBias, tidinessBias }: Labeler): number {
  const length = Math.min(30, text.trim().split(/\s+/).length);
  return (lengthBias * length) / 10 + (/^\p{Lu}.*[.!?]$/su.test(text.trim()) ? tidinessBias : 0);
}

/** A standard normal number, by Box and Muller. */
function normal(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
