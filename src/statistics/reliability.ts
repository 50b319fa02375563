// Estimates the reliability of labelers from their agreement with each other and with known answers.

export interface DawidSkene {
  /** Probability of each class for each item. */
  posteriors: number[][];
  /** Probability that a labeler gives each label (column) to an item of each class (row). */
  confusion: number[][][];
  /** Log-posterior after each EM step; it never decreases. */
  trace: number[];
}

/** A labeler with fewer labels gets one accuracy for all classes: too few to estimate a whole confusion matrix. */
const minLabelsForMatrix = 10;

/**
 * Estimates the classes of items and the confusion matrices of labelers by expectation-maximisation, starting from the
 * majority vote (Dawid & Skene 1979).
 * @param ratings indices of item, labeler and class @param gold known classes, by item
 * @param smoothing pseudo-count added to each cell of a confusion matrix
 */
export function dawidSkene(
  ratings: readonly { item: number; labeler: number; label: number }[],
  sizes: { items: number; labelers: number; classes: number },
  { gold = new Map(), smoothing = 0 }: { gold?: ReadonlyMap<number, number>; smoothing?: number } = {},
): DawidSkene {
  const { items, labelers, classes } = sizes;
  const zeros = (n: number) => new Array<number>(n).fill(0);
  const counts = zeros(labelers);
  for (const { labeler } of ratings) counts[labeler] = (counts[labeler] as number) + 1;
  const clamp = (posteriors: number[][]) =>
    posteriors.map((row, item) => {
      const known = gold.get(item);
      return known === undefined ? normalised(row) : row.map((_, c) => Number(c === known));
    });
  const votes = Array.from({ length: items }, () => zeros(classes));
  for (const { item, label } of ratings) addAt(votes[item] as number[], label, 1);
  let posteriors = clamp(votes);
  let confusion: number[][][] = [];
  const trace: number[] = [];
  for (let step = 0; step < 2000; step++) {
    confusion = Array.from({ length: labelers }, () =>
      Array.from({ length: classes }, () => zeros(classes).fill(smoothing)),
    );
    for (const { item, labeler, label } of ratings)
      (posteriors[item] as number[]).forEach((p, c) => addAt(confusion[labeler]?.[c] as number[], label, p));
    confusion = confusion.map((matrix, labeler) =>
      (counts[labeler] as number) < minLabelsForMatrix ? oneCoin(matrix) : matrix.map(normalised),
    );
    const prior = normalised(
      posteriors.reduce((sum, row) => sum.map((value, c) => value + (row[c] as number)), zeros(classes)),
    );
    const logs = Array.from({ length: items }, () => prior.map(Math.log));
    for (const { item, labeler, label } of ratings)
      for (let c = 0; c < classes; c++)
        addAt(logs[item] as number[], c, Math.log(confusion[labeler]?.[c]?.[label] as number));
    let likelihood = smoothing ? confusion.flat(2).reduce((sum, p) => sum + smoothing * Math.log(p), 0) : 0;
    logs.forEach((row, item) => {
      const known = gold.get(item);
      likelihood += known === undefined ? logSumExp(row) : (row[known] as number);
    });
    posteriors = clamp(
      logs.map((row) => {
        const max = Math.max(...row);
        return row.map((value) => Math.exp(value - max));
      }),
    );
    const previous = trace.at(-1) ?? -Infinity;
    trace.push(likelihood);
    if (likelihood - previous < 1e-13 * Math.abs(likelihood)) break;
  }
  return { posteriors, confusion, trace };
}

type IndexByName = ReadonlyMap<string, number>;

/** Numbers distinct names in the order of their first occurrence. */
export const indexByName = (names: readonly string[]): IndexByName =>
  new Map([...new Set(names)].map((name, index) => [name, index]));

/** Estimates the probability that each labeler gives an item its true class, by `dawidSkene`. */
export function labelerAccuracy(
  ratings: readonly { item: string; labeler: string; label: string | number }[],
): Record<string, number> {
  const [items, labelers, classes] = (["item", "labeler", "label"] as const).map((field) =>
    indexByName(ratings.map((rating) => String(rating[field]))),
  ) as [IndexByName, IndexByName, IndexByName];
  const rows = ratings.map(({ item, labeler, label }) => ({
    item: items.get(item) as number,
    labeler: labelers.get(labeler) as number,
    label: classes.get(String(label)) as number,
  }));
  const sizes = { items: items.size, labelers: labelers.size, classes: classes.size };
  const { posteriors } = dawidSkene(rows, sizes, { smoothing: 1 });
  const right = new Array<number>(labelers.size).fill(0);
  const all = [...right];
  for (const { item, labeler, label } of rows) {
    addAt(right, labeler, posteriors[item]?.[label] as number);
    addAt(all, labeler, 1);
  }
  return Object.fromEntries(
    [...labelers].map(([name, k]) => [name, (right[k] as number) / (all[k] as number)]),
  );
}

const addAt = (target: number[], index: number, value: number): void => {
  target[index] = (target[index] as number) + value;
};

const normalised = (row: readonly number[]): number[] => {
  const sum = row.reduce((a, b) => a + b, 0);
  return row.map((value) => (sum ? value / sum : 1 / row.length));
};

const logSumExp = (row: readonly number[]): number => {
  const max = Math.max(...row);
  return max + Math.log(row.reduce((sum, value) => sum + Math.exp(value - max), 0));
};

/** Builds a "one-coin" confusion matrix: one accuracy for all classes, errors spread evenly over the other labels. */
function oneCoin(counts: readonly (readonly number[])[]): number[][] {
  const classes = counts.length;
  const right = counts.reduce((sum, row, c) => sum + (row[c] as number), 0);
  const all = counts.flat().reduce((a, b) => a + b, 0);
  const accuracy = all ? right / all : 1 / classes;
  return counts.map((row, c) =>
    row.map((_, label) => (label === c ? accuracy : (1 - accuracy) / Math.max(1, classes - 1))),
  );
}

/** A labeler's vote on a pair of completions. */
export interface Vote {
  pair: number;
  labeler: number;
  /** Whether the pair's first completion was shown on the left (or above). */
  firstShownLeft: boolean;
  /** 1 if the first is preferred, 0 if the second, 0.5 for a tie. */
  first: number;
}

/** A labeler's correct and wrong answers where the truth is known. */
export interface KnownAnswers {
  right: number;
  wrong: number;
}

export interface Reliability {
  /** Of each pair, the probability that its first completion is the better one. */
  first: number[];
  /** Of each labeler, the probability of preferring the better completion: 1 is perfect, 0.5 random, 0 reversed. */
  accuracy: number[];
  /** Of each labeler, accuracy when the better completion is on the left minus accuracy when it is on the right. */
  leftBias: number[];
  /** Log-posterior after each EM step; it never decreases. */
  trace: number[];
}

/** Beta prior of a labeler's accuracy, as pseudo-counts: a mean of 2/3, worth six comparisons. */
export const priorAnswers: KnownAnswers = { right: 4, wrong: 2 };

/**
 * Estimates which completion of each pair is better, and how reliable each labeler is, by expectation-maximisation. The
 * model is Dawid & Skene's (1979) with two equally likely classes; each labeler has one accuracy for when the better
 * completion is on the left and one for the right. The prior above 1/2 keeps the classes from being swapped. Pairs of one
 * ranking are treated as independent.
 *
 * Each pair has only two or three votes, so the true class is marginalised, not fixed. Fitting scores of completions
 * together with labelers (Chen et al. 2013) overfits here and calls everybody right: docs/decisions/0007-reliability.md.
 * @param known by labeler, answers to gold tasks; they are not among the votes
 */
export function estimateReliability(
  votes: readonly Vote[],
  pairs: number,
  known: readonly KnownAnswers[],
): Reliability {
  // Counts before any vote: prior and known answers, half of them for each side.
  const initial = known.map(({ right, wrong }) => ({
    right: (right + priorAnswers.right) / 2,
    wrong: (wrong + priorAnswers.wrong) / 2,
  }));
  let accuracies = initial.map(({ right, wrong }) => {
    const accuracy = right / (right + wrong);
    return [accuracy, accuracy] as [left: number, right: number];
  });
  let first: number[] = [];
  const trace: number[] = [];
  for (let step = 0; step < 1000; step++) {
    const ifFirst = new Array<number>(pairs).fill(0);
    const ifSecond = new Array<number>(pairs).fill(0);
    const logs = accuracies.map((sides) => sides.map(logProbsOf) as [LogProbs, LogProbs]);
    for (const vote of votes) {
      const sides = logs[vote.labeler] as [LogProbs, LogProbs];
      addAt(ifFirst, vote.pair, expectedLogProb(sides[vote.firstShownLeft ? 0 : 1], vote.first));
      addAt(ifSecond, vote.pair, expectedLogProb(sides[vote.firstShownLeft ? 1 : 0], 1 - vote.first));
    }
    let posterior = 0;
    first = ifFirst.map((a, pair) => {
      const b = ifSecond[pair] as number;
      posterior += logSumExp([a, b]) - Math.LN2;
      return 1 / (1 + Math.exp(b - a));
    });
    accuracies.forEach((sides, k) => {
      const { right, wrong } = initial[k] as KnownAnswers;
      for (const accuracy of sides) posterior += right * Math.log(accuracy) + wrong * Math.log(1 - accuracy);
    });
    const previous = trace.at(-1) ?? -Infinity;
    trace.push(posterior);
    if (posterior - previous < 1e-9 * Math.abs(posterior)) break;
    const counts = initial.map((counts) => [{ ...counts }, { ...counts }] as [KnownAnswers, KnownAnswers]);
    for (const vote of votes) {
      const p = first[vote.pair] as number;
      const sides = counts[vote.labeler] as [KnownAnswers, KnownAnswers];
      const [ifFirstBetter, ifSecondBetter] = [
        sides[vote.firstShownLeft ? 0 : 1],
        sides[vote.firstShownLeft ? 1 : 0],
      ];
      ifFirstBetter.right += p * vote.first;
      ifFirstBetter.wrong += p * (1 - vote.first);
      ifSecondBetter.right += (1 - p) * (1 - vote.first);
      ifSecondBetter.wrong += (1 - p) * vote.first;
    }
    accuracies = counts.map(
      (sides) => sides.map(({ right, wrong }) => right / (right + wrong)) as [number, number],
    );
  }
  return {
    first,
    accuracy: accuracies.map(([left, right]) => (left + right) / 2),
    leftBias: accuracies.map(([left, right]) => left - right),
    trace,
  };
}

/** Log-probabilities of a correct and of a wrong vote. */
interface LogProbs {
  right: number;
  wrong: number;
}

const logProbsOf = (accuracy: number): LogProbs => ({
  right: Math.log(accuracy),
  wrong: Math.log(1 - accuracy),
});

/** Log-probability of a vote of which the share `share` is correct: a tie is half correct. */
const expectedLogProb = ({ right, wrong }: LogProbs, share: number): number =>
  share * right + (1 - share) * wrong;

/** Converts a labeler's accuracy to the weight of their judgements in training: 1 if perfect, 0 at chance or worse. */
export const trainingWeight = (accuracy: number): number => Math.max(0, 2 * accuracy - 1);
