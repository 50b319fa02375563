// How far each labeler can be trusted, from what all of them said.

export interface DawidSkene {
  /** Probability of each class for each item. */
  posteriors: number[][];
  /** Probability that a labeler gives each label (column) to an item of each class (row). */
  confusion: number[][][];
  /** Log-posterior after each step: it never falls. */
  trace: number[];
}

/** Below this many labels a labeler has one accuracy for all classes: a whole confusion matrix would be guessed. */
const minLabelsForMatrix = 10;

/**
 * Classes of items and confusions of labelers by expectation-maximisation from the majority (Dawid & Skene 1979).
 * @param ratings places of items, labelers and classes @param gold classes of items that are known
 * @param smoothing labels added to each cell of a confusion matrix
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
        const most = Math.max(...row);
        return row.map((value) => Math.exp(value - most));
      }),
    );
    const before = trace.at(-1) ?? -Infinity;
    trace.push(likelihood);
    if (likelihood - before < 1e-13 * Math.abs(likelihood)) break;
  }
  return { posteriors, confusion, trace };
}

type IndexByName = ReadonlyMap<string, number>;

/** Different names, numbered as they come. */
export const indexByName = (names: readonly string[]): IndexByName =>
  new Map([...new Set(names)].map((name, place) => [name, place]));

/** Of each labeler, how likely they give an item its class, by `dawidSkene`. */
export function labelerAccuracy(
  ratings: readonly { item: string; labeler: string; label: string | number }[],
): Record<string, number> {
  const [items, labelers, classes] = (["item", "labeler", "label"] as const).map((of) =>
    indexByName(ratings.map((rating) => String(rating[of]))),
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

const addAt = (to: number[], place: number, value: number): void => {
  to[place] = (to[place] as number) + value;
};

const normalised = (row: readonly number[]): number[] => {
  const sum = row.reduce((a, b) => a + b, 0);
  return row.map((value) => (sum ? value / sum : 1 / row.length));
};

const logSumExp = (row: readonly number[]): number => {
  const most = Math.max(...row);
  return most + Math.log(row.reduce((sum, value) => sum + Math.exp(value - most), 0));
};

/** One accuracy for all classes, what is wrong spread evenly. */
function oneCoin(counts: readonly (readonly number[])[]): number[][] {
  const classes = counts.length;
  const right = counts.reduce((sum, row, c) => sum + (row[c] as number), 0);
  const all = counts.flat().reduce((a, b) => a + b, 0);
  const accuracy = all ? right / all : 1 / classes;
  return counts.map((row, c) =>
    row.map((_, label) => (label === c ? accuracy : (1 - accuracy) / Math.max(1, classes - 1))),
  );
}

/** What a labeler said of two completions. */
export interface Vote {
  pair: number;
  labeler: number;
  /** Whether the pair's first stood on the left (or above). */
  firstShownLeft: boolean;
  /** 1 for the first, 0 for the second, 0.5 for a tie. */
  first: number;
}

/** Comparisons of a labeler that are known to be right and wrong. */
export interface KnownAnswers {
  right: number;
  wrong: number;
}

export interface Reliability {
  /** Probability that each pair's first is the better one. */
  first: number[];
  /** Of each labeler, the probability of preferring the better one: 1 perfect, 0.5 at random, 0 reversed. */
  accuracy: number[];
  /** Of each labeler, how much likelier the better one is preferred on the left than on the right. */
  leftBias: number[];
  /** Log-posterior after each step: it never falls. */
  trace: number[];
}

/** What is believed of a labeler before any comparison: right twice in three, as after this many. */
export const priorAnswers: KnownAnswers = { right: 4, wrong: 2 };

/**
 * Which of two is better and how reliable each labeler is, by expectation-maximisation: Dawid & Skene's model (1979) of
 * two classes that are as likely, with a labeler's accuracy for a better one on the left and on the right. The prior
 * keeps good and bad from being exchanged. That pairs of one ranking hang together is left out.
 *
 * Pairs have two or three judgements each, so what is better is summed over. Scores of completions fitted beside the
 * labelers (Chen et al. 2013) follow whoever judged them, and call everybody right: docs/decisions/0007-reliability.md.
 * @param known comparisons of each labeler whose truth is known, and which are not among the votes
 */
export function estimateReliability(
  votes: readonly Vote[],
  pairs: number,
  known: readonly KnownAnswers[],
): Reliability {
  // Each labeler's record by side: what the prior and known answers say is shared by both.
  const start = known.map(({ right, wrong }) => ({
    right: (right + priorAnswers.right) / 2,
    wrong: (wrong + priorAnswers.wrong) / 2,
  }));
  let accuracies = start.map(({ right, wrong }) => {
    const accuracy = right / (right + wrong);
    return [accuracy, accuracy] as [left: number, right: number];
  });
  let first: number[] = [];
  const trace: number[] = [];
  for (let step = 0; step < 1000; step++) {
    const ifFirst = new Array<number>(pairs).fill(0);
    const ifSecond = new Array<number>(pairs).fill(0);
    const logs = accuracies.map((own) => own.map(logProbsOf) as [LogProbs, LogProbs]);
    for (const vote of votes) {
      const own = logs[vote.labeler] as [LogProbs, LogProbs];
      addAt(ifFirst, vote.pair, expectedLogProb(own[vote.firstShownLeft ? 0 : 1], vote.first));
      addAt(ifSecond, vote.pair, expectedLogProb(own[vote.firstShownLeft ? 1 : 0], 1 - vote.first));
    }
    let posterior = 0;
    first = ifFirst.map((a, pair) => {
      const b = ifSecond[pair] as number;
      posterior += logSumExp([a, b]) - Math.LN2;
      return 1 / (1 + Math.exp(b - a));
    });
    accuracies.forEach((own, k) => {
      const { right, wrong } = start[k] as KnownAnswers;
      for (const accuracy of own) posterior += right * Math.log(accuracy) + wrong * Math.log(1 - accuracy);
    });
    const before = trace.at(-1) ?? -Infinity;
    trace.push(posterior);
    if (posterior - before < 1e-9 * Math.abs(posterior)) break;
    const records = start.map((own) => [{ ...own }, { ...own }] as [KnownAnswers, KnownAnswers]);
    for (const vote of votes) {
      const p = first[vote.pair] as number;
      const own = records[vote.labeler] as [KnownAnswers, KnownAnswers];
      const [ofFirst, ofSecond] = [own[vote.firstShownLeft ? 0 : 1], own[vote.firstShownLeft ? 1 : 0]];
      ofFirst.right += p * vote.first;
      ofFirst.wrong += p * (1 - vote.first);
      ofSecond.right += (1 - p) * (1 - vote.first);
      ofSecond.wrong += (1 - p) * vote.first;
    }
    accuracies = records.map(
      (own) => own.map(({ right, wrong }) => right / (right + wrong)) as [number, number],
    );
  }
  return {
    first,
    accuracy: accuracies.map(([left, right]) => (left + right) / 2),
    leftBias: accuracies.map(([left, right]) => left - right),
    trace,
  };
}

/** Log-probabilities of a right answer and of a wrong one. */
interface LogProbs {
  right: number;
  wrong: number;
}

const logProbsOf = (accuracy: number): LogProbs => ({
  right: Math.log(accuracy),
  wrong: Math.log(1 - accuracy),
});

/** Log-probability of an answer that is right to this share. */
const expectedLogProb = ({ right, wrong }: LogProbs, share: number): number =>
  share * right + (1 - share) * wrong;

/** What a judgement of a labeler counts in training: how much better than chance, nothing where worse. */
export const trainingWeight = (accuracy: number): number => Math.max(0, 2 * accuracy - 1);
