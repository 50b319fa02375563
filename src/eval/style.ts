// What judges like whatever an answer says: its length, and Markdown (Li et al. 2024, "Does style matter?").

/** Counts of an answer's style. */
interface Style {
  length: number;
  headers: number;
  lists: number;
  bold: number;
}

/** Names of the features of `styleDifference`, in its order. */
export const styleFeatures = ["length", "headers", "lists", "bold"] as const;

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0;

const styleOf = (text: string): Style => ({
  length: text.length,
  headers: count(text, /^#{1,6} /gm),
  lists: count(text, /^\s*(?:[-*+]|\d+[.)]) /gm),
  bold: count(text, /\*\*[^*\n]+\*\*|__[^_\n]+__/g),
});

/**
 * Compares the style of two answers, first less second: of the length in characters (a − b) / (a + b), of the Markdown's
 * density by character (a − b) / (a + b), as arena-hard-auto does by token; 0 where both have none.
 */
export function styleDifference(first: string, second: string): number[] {
  const [a, b] = [styleOf(first), styleOf(second)];
  const relative = (x: number, y: number) => (x + y > 0 ? (x - y) / (x + y) : 0);
  return styleFeatures.map((feature) => {
    if (feature === "length") return relative(a.length, b.length);
    return relative(a[feature] / (a.length + 1), b[feature] / (b.length + 1));
  });
}
