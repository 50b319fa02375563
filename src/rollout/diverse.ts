/** A completion that may be put in front of people, and where it comes from. */
export interface Candidate {
  text: string;
  model: string;
  temperature: number;
  seed: number;
}

/**
 * At most `count` completions that differ: empty and near-identical ones never; from each model in turn the one whose
 * nearest among those chosen is farthest, by the share of word pairs they have in common (Jaccard).
 */
export function chooseDiverse(candidates: readonly Candidate[], count: number): Candidate[] {
  const seen = new Set<string>();
  const left = candidates.filter(({ text }) => {
    const folded = fold(text);
    return folded !== "" && !seen.has(folded) && seen.add(folded);
  });
  const models = [...new Set(left.map(({ model }) => model))];
  const chosen: Candidate[] = [];
  while (chosen.length < count && left.length) {
    const model = models[chosen.length % models.length];
    const own = left.filter((one) => one.model === model);
    const pool = own.length ? own : left;
    const best = pool.reduce((a, b) => (nearest(b, chosen) < nearest(a, chosen) ? b : a));
    chosen.push(best);
    left.splice(left.indexOf(best), 1);
  }
  return chosen;
}

const nearest = ({ text }: Candidate, others: readonly Candidate[]): number =>
  Math.max(0, ...others.map((other) => similarity(text, other.text)));

/** Share of the word pairs of either text that are in both: 0 to 1. */
export function similarity(a: string, b: string): number {
  const [x, y] = [pairs(a), pairs(b)];
  const common = [...x].filter((pair) => y.has(pair)).length;
  return common / Math.max(1, x.size + y.size - common);
}

function pairs(text: string): Set<string> {
  const words = fold(text).split(" ");
  return new Set(words.length < 2 ? words : words.slice(1).map((word, i) => `${words[i]} ${word}`));
}

const fold = (text: string): string => text.toLowerCase().replace(/\s+/g, " ").trim();
