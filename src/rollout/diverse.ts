/** A completion that may be shown to labelers, with the model and settings that it was sampled with. */
export interface Candidate {
  text: string;
  model: string;
  temperature: number;
  seed: number;
}

/**
 * Chooses at most `count` completions that differ from each other, by farthest-point sampling: from each model in turn
 * the completion that is least similar to those chosen so far. Similarity is Jaccard's index of word pairs. Empty
 * completions, and those equal to another but for case and white space, are never chosen.
 */
export function chooseDiverse(candidates: readonly Candidate[], count: number): Candidate[] {
  const seen = new Set<string>();
  const remaining = candidates.filter(({ text }) => {
    const normalised = normalise(text);
    return normalised !== "" && !seen.has(normalised) && seen.add(normalised);
  });
  const models = [...new Set(remaining.map(({ model }) => model))];
  const chosen: Candidate[] = [];
  while (chosen.length < count && remaining.length) {
    const model = models[chosen.length % models.length];
    const fromModel = remaining.filter((candidate) => candidate.model === model);
    const pool = fromModel.length ? fromModel : remaining;
    const best = pool.reduce((a, b) =>
      greatestSimilarity(b, chosen) < greatestSimilarity(a, chosen) ? b : a,
    );
    chosen.push(best);
    remaining.splice(remaining.indexOf(best), 1);
  }
  return chosen;
}

const greatestSimilarity = ({ text }: Candidate, others: readonly Candidate[]): number =>
  Math.max(0, ...others.map((other) => similarity(text, other.text)));

/** Jaccard index of the texts' word pairs: shared pairs over all pairs, 0 to 1. */
export function similarity(a: string, b: string): number {
  const [x, y] = [wordPairs(a), wordPairs(b)];
  const common = [...x].filter((pair) => y.has(pair)).length;
  return common / Math.max(1, x.size + y.size - common);
}

function wordPairs(text: string): Set<string> {
  const words = normalise(text).split(" ");
  return new Set(words.length < 2 ? words : words.slice(1).map((word, i) => `${words[i]} ${word}`));
}

const normalise = (text: string): string => text.toLowerCase().replace(/\s+/g, " ").trim();
