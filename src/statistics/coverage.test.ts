import { describe, expect, it } from "vitest";
import { alarmRate, alarms } from "../../test/alarms.ts";
import { statistics } from "../../test/coverage.ts";

// A seeded part of `npm run check:coverage`. 200 intervals of 95 % hold the truth in 179 to 199 (3.5 standard deviations).
// Where pairs were resampled in place of tasks, those of rankings of nine held it in 53 %.
describe.each(statistics)("the interval of $name", ({ sizes, cover }) => {
  it.each([sizes[0] as number, sizes.at(-1) as number])(
    "covers the truth, with %i answers of a task",
    (size) => {
      expect(cover({ size, tasks: 20, simulations: 200 })).toBeGreaterThan(0.895);
      // 90 % or more, within three standard deviations of 100, and of 200.
      expect(cover({ size, tasks: 5, simulations: 100 })).toBeGreaterThan(0.84);
      expect(cover({ size, tasks: 10, simulations: 200 })).toBeGreaterThan(0.87);
    },
  );
});

describe.each(alarms)("the alarm that $alarm: $truth", (alarm) => {
  const { isFalse, bound } = alarm;
  it(isFalse ? "is rare" : "rings", () => {
    const simulations = 100;
    const rate = alarmRate(alarm, 50, simulations);
    // Three standard deviations of the share in 100 simulations.
    const margin = 3 * Math.sqrt((bound * (1 - bound)) / simulations);
    if (isFalse) expect(rate).toBeLessThan(bound + margin);
    else expect(rate).toBeGreaterThan(bound - margin);
  });
});
