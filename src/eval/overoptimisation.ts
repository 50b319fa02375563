import type { Interval } from "../statistics/bootstrap.ts";
import { studentQuantile } from "../statistics/student.ts";

// Over-optimisation as Gao, Schulman and Hilton measured it (2023): gold over d = √KL rises and falls while the proxy rises.

/** A measurement of a policy. */
export interface CurvePoint {
  /** KL to the initial policy, in nats per response. */
  kl: number;
  /** Gold score, less that of the initial policy. */
  gold: number;
}

export interface CurveFit {
  alpha: Interval;
  beta: Interval;
  /** Share of the gold scores' squares that the curve explains; the curve begins at 0. */
  rSquared: number;
  /**
   * KL at which gold is highest. The interval is Fieller's (1954); its end is infinite where β may be 0, which is as much as
   * points before the bend can tell.
   */
  peakKl: Interval;
  /** Gold that the curve has at its peak. */
  peakGold: number;
  /** Gold that the curve has at a KL. */
  goldAt: (kl: number) => number;
}

/** How a policy was optimised: by reinforcement learning, or as the best of n samples. */
export type Optimisation = "rl" | "best-of-n";

/**
 * Fits R(d) = d (α − β log d) for reinforcement learning, or R(d) = d (α − β d) for the best of n (Gao et al. 2023, section
 * 3.1), by least squares, with 95 % intervals by Student's t.
 * @param points at least 5 with a KL above 0 @returns undefined if there are fewer
 */
export function fitCurve(points: readonly CurvePoint[], optimisation: Optimisation): CurveFit | undefined {
  const used = points.filter(({ kl }) => kl > 0);
  if (used.length < minPoints) return undefined;
  const bend = (d: number) => (optimisation === "rl" ? d * Math.log(d) : d * d);
  const rows = used.map(({ kl, gold }) => ({ a: Math.sqrt(kl), b: -bend(Math.sqrt(kl)), gold }));
  const sum = (of: (row: (typeof rows)[number]) => number) => rows.reduce((total, row) => total + of(row), 0);
  const [aa, ab, bb] = [sum(({ a }) => a * a), sum(({ a, b }) => a * b), sum(({ b }) => b * b)];
  const [ay, by, yy] = [
    sum(({ a, gold }) => a * gold),
    sum(({ b, gold }) => b * gold),
    sum(({ gold }) => gold * gold),
  ];
  const determinant = aa * bb - ab * ab;
  const alpha = (bb * ay - ab * by) / determinant;
  const beta = (aa * by - ab * ay) / determinant;
  const residual = sum(({ a, b, gold }) => (gold - alpha * a - beta * b) ** 2);
  const degrees = used.length - 2;
  const variance = residual / degrees;
  const t = studentQuantile(degrees);
  const [varAlpha, varBeta, covariance] = [bb, aa, -ab].map((x) => (variance * x) / determinant) as [
    number,
    number,
    number,
  ];
  const interval = (value: number, itsVariance: number): Interval => {
    const half = t * Math.sqrt(itsVariance);
    return { value, low: value - half, high: value + half };
  };
  const ratio = fieller({ alpha, beta, varAlpha, varBeta, covariance, t });
  // d* = exp(α/β − 1), or α / 2β.
  const klAt = (r: number) => (optimisation === "rl" ? Math.exp(2 * (r - 1)) : (Math.max(0, r) / 2) ** 2);
  const goldAt = (kl: number) => {
    const d = Math.sqrt(kl);
    return kl > 0 ? alpha * d - beta * bend(d) : 0;
  };
  const peakKl = { value: klAt(ratio.value), low: klAt(ratio.low), high: klAt(ratio.high) };
  return {
    alpha: interval(alpha, varAlpha),
    beta: interval(beta, varBeta),
    rSquared: 1 - residual / yy,
    peakKl,
    peakGold: Number.isFinite(peakKl.value) ? goldAt(peakKl.value) : Number.POSITIVE_INFINITY,
    goldAt,
  };
}

/** With fewer points nothing is fitted. */
const minPoints = 5;

interface Ratio {
  alpha: number;
  beta: number;
  varAlpha: number;
  varBeta: number;
  covariance: number;
  t: number;
}

/** Computes α / β with its 95 % interval (Fieller 1954). Where β may be 0 or less, the curve may never bend. */
function fieller({ alpha, beta, varAlpha, varBeta, covariance, t }: Ratio): Interval {
  const value = beta > 0 ? alpha / beta : Number.POSITIVE_INFINITY;
  // The ratios r for which α − r β is within t standard errors of 0: a quadratic in r.
  const [a, b, c] = [
    beta * beta - t * t * varBeta,
    alpha * beta - t * t * covariance,
    alpha * alpha - t * t * varAlpha,
  ];
  const discriminant = b * b - a * c;
  if (discriminant < 0) return { value, low: Number.NEGATIVE_INFINITY, high: Number.POSITIVE_INFINITY };
  const roots = [(b - Math.sqrt(discriminant)) / a, (b + Math.sqrt(discriminant)) / a].sort(
    (x, y) => x - y,
  ) as [number, number];
  if (a > 0 && beta > 0) return { value, low: roots[0], high: roots[1] };
  // All ratios from one on, through infinity.
  return { value, low: Math.max(0, roots[1]), high: Number.POSITIVE_INFINITY };
}
