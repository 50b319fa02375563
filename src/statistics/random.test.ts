import { expect, it } from "vitest";
import { uniform } from "./random.ts";

// What mulberry32 gives in C, with uint32_t: z = (x += 0x6D2B79F5); z = (z ^ z >> 15) * (z | 1);
// z ^= z + (z ^ z >> 7) * (z | 61); return z ^ z >> 14.
it.each([
  [1, [2693262067, 11749833, 2265367787]],
  [0xffffffff, [3850105811]],
  [-1, [3850105811]],
])("gives the numbers of mulberry32 from the seed %i", (seed, expected) => {
  const next = uniform(seed);
  expect(expected.map(() => next() * 2 ** 32)).toEqual(expected);
});
