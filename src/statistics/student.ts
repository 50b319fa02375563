// Student's t distribution.

/** Computes Student's 97.5 % quantile (Abramowitz & Stegun 1964, 26.7.5; within 0.01 from 4 degrees of freedom on). */
export function studentQuantile(degreesOfFreedom: number): number {
  const z = 1.959964;
  const v = degreesOfFreedom;
  const terms = [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
  ];
  return terms.reduce((sum, term, i) => sum + term / v ** i, 0);
}

/**
 * Computes P(T > t) of Student's t with a whole number of degrees of freedom (Abramowitz & Stegun 1964, 26.7.3 and 26.7.4).
 */
export function studentUpperTail(t: number, degreesOfFreedom: number): number {
  const angle = Math.atan(t / Math.sqrt(degreesOfFreedom));
  const squaredCosine = Math.cos(angle) ** 2;
  const isOdd = degreesOfFreedom % 2 === 1;
  let term = isOdd ? Math.cos(angle) : 1;
  let sum = degreesOfFreedom === 1 ? 0 : term;
  for (let k = isOdd ? 3 : 2; k < degreesOfFreedom; k += 2) {
    term *= (squaredCosine * (k - 1)) / k;
    sum += term;
  }
  const central = isOdd ? (2 / Math.PI) * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum;
  return (1 - central) / 2;
}
