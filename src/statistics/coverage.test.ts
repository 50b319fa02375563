import { describe, expect, it } from "vitest";
import { statistics } from "../../test/coverage.ts";

// A seeded part of `npm run check:coverage`. 200 intervals of 95 % hold the truth in 179 to 199 (3.5 standard deviations).
// Where pairs were resampled in place of tasks, those of rankings of nine held it in 53 %.
describe.each(statistics)("the interval of $name", ({ sizes, cover }) => {
  it.each([sizes[0] as number, sizes.at(-1) as number])(
    "covers the truth, with %i answers of a task",
    (size) => {
      expect(cover({ size, tasks: 20, simulations: 200 })).toBeGreaterThan(0.895);
      expect(cover({ size, tasks: 5, simulations: 100 })).toBeGreaterThan(0.84);
    },
  );
});
