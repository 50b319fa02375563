// Logistic regression with cluster-robust errors, from which ratings and length-controlled win rates come.

export interface Observation {
  /** Value of each feature. */
  features: readonly number[];
  /** From 0 to 1: how much the first side won. A tie is one half. */
  outcome: number;
  /** Default: 1. */
  weight?: number;
  /** What it depends on with others, such as the prompt. Default: it depends on none. */
  cluster?: unknown;
}

export interface LogisticFit {
  /** Coefficient of each feature. */
  coefficients: number[];
  /** Covariance of the coefficients (features × features): the cluster-robust sandwich H⁻¹ G H⁻¹. */
  covariance: number[][];
}

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
const dot = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, value, i) => sum + value * (b[i] as number), 0);

/**
 * Fits P(outcome) = σ(features · coefficients) by Newton's method, with covariances that hold whatever the observations of
 * a cluster have in common (Liang & Zeger 1986): H = Σ weight · p (1 − p) x xᵀ + ridge, G = Σ over clusters of s sᵀ, where
 * s = Σ weight · (outcome − p) x.
 * @param ridge penalty ridge · c² / 2 of each coefficient c, greater than 0 where features do not determine it
 */
export function fitLogistic(observations: readonly Observation[], ridge: readonly number[]): LogisticFit {
  const size = ridge.length;
  let coefficients = new Array<number>(size).fill(0);
  const loss = (at: readonly number[]) =>
    observations.reduce((sum, { features, outcome, weight = 1 }) => {
      const logit = dot(features, at);
      return sum + weight * (Math.log1p(Math.exp(-Math.abs(logit))) + Math.max(logit, 0) - outcome * logit);
    }, 0) + at.reduce((sum, value, i) => sum + ((ridge[i] as number) * value * value) / 2, 0);
  let inverse: number[][] = [];
  for (let step = 0; step < 100; step++) {
    const hessian = ridge.map((penalty, i) => ridge.map((_, j) => (i === j ? penalty : 0)));
    const gradient = coefficients.map((value, i) => (ridge[i] as number) * value);
    for (const { features, outcome, weight = 1 } of observations) {
      const p = sigmoid(dot(features, coefficients));
      addOuter(hessian, features, weight * p * (1 - p));
      for (const [i, value] of features.entries())
        gradient[i] = (gradient[i] as number) + weight * (p - outcome) * value;
    }
    inverse = invert(hessian);
    const change = inverse.map((row) => dot(row, gradient));
    const move = (length: number) => coefficients.map((value, i) => value - length * (change[i] as number));
    const before = loss(coefficients);
    let length = 1;
    while (length > 1e-9 && loss(move(length)) > before) length /= 2;
    coefficients = move(length);
    if (Math.max(...change.map(Math.abs)) < 1e-10) break;
  }
  const scores = new Map<unknown, number[]>();
  for (const [i, { features, outcome, weight = 1, cluster = i }] of observations.entries()) {
    const residual = weight * (outcome - sigmoid(dot(features, coefficients)));
    const score = scores.get(cluster) ?? new Array<number>(size).fill(0);
    for (const [j, value] of features.entries()) score[j] = (score[j] as number) + residual * value;
    scores.set(cluster, score);
  }
  const meat = ridge.map(() => new Array<number>(size).fill(0));
  for (const score of scores.values()) addOuter(meat, score, 1);
  return { coefficients, covariance: multiply(multiply(inverse, meat), inverse) };
}

/** Adds scale · x xᵀ to a matrix. Most features of a comparison are 0. */
function addOuter(matrix: number[][], x: readonly number[], scale: number): void {
  for (const [i, a] of x.entries()) {
    if (a === 0) continue;
    const row = matrix[i] as number[];
    for (const [j, b] of x.entries()) row[j] = (row[j] as number) + scale * a * b;
  }
}

const multiply = (a: readonly (readonly number[])[], b: readonly (readonly number[])[]): number[][] =>
  a.map((row) =>
    (b[0] ?? []).map((_, j) => row.reduce((sum, value, k) => sum + value * (b[k]?.[j] ?? 0), 0)),
  );

/** Inverts a symmetric positive definite matrix by Gauss-Jordan elimination. */
function invert(matrix: readonly (readonly number[])[]): number[][] {
  const size = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...matrix.map((_, j) => (i === j ? 1 : 0))]);
  for (let pivot = 0; pivot < size; pivot++) {
    const row = rows[pivot] as number[];
    const scale = row[pivot] as number;
    for (let k = 0; k < 2 * size; k++) row[k] = (row[k] as number) / scale;
    for (const [i, other] of rows.entries()) {
      const factor = other[pivot] as number;
      if (i === pivot || factor === 0) continue;
      for (let k = 0; k < 2 * size; k++) other[k] = (other[k] as number) - factor * (row[k] as number);
    }
  }
  return rows.map((row) => row.slice(size));
}
