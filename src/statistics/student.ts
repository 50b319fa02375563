// Student's t distribution.

/** Computes Student's 97.5 % quantile: a series (Abramowitz & Stegun 1964, 26.7.5), and two steps of Newton's method. */
export function studentQuantile(degreesOfFreedom: number): number {
  const z = 1.959963984540054;
  const v = degreesOfFreedom;
  const terms = [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
  ];
  let quantile = terms.reduce((sum, term, i) => sum + term / v ** i, 0);
  // From a hundred degrees of freedom on the series is within 2e-8.
  for (let step = 0; step < (v < 100 ? 2 : 0); step++) {
    const width = 1e-4;
    const slope =
      (studentUpperTail(quantile + width, v) - studentUpperTail(quantile - width, v)) / (2 * width);
    quantile -= (studentUpperTail(quantile, v) - 0.025) / slope;
  }
  return quantile;
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
