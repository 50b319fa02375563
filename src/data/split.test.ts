import fc from "fast-check";
import { expect, test } from "vitest";
import type { Message } from "./records.ts";
import { shuffled, splitByPrompt } from "./split.ts";

const record = (text: string) => ({ prompt: [{ role: "user", content: text } satisfies Message] });

test("a split keeps every record, each prompt on one side, and about the share asked for", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: 2 }), { minLength: 1, maxLength: 60 }),
      fc.double({ min: 0, max: 0.99, noNaN: true }),
      fc.integer(),
      (texts, fraction, seed) => {
        const records = texts.map(record);
        const { train, heldOut } = splitByPrompt(records, fraction, seed);
        expect(new Set([...train, ...heldOut])).toEqual(new Set(records));
        const sides = [train, heldOut].map((side) => new Set(side.map((r) => r.prompt[0]?.content)));
        const [trained, held] = sides as [Set<string>, Set<string>];
        expect([...trained].filter((text) => held.has(text))).toEqual([]);
        const distinct = new Set(texts).size;
        expect(trained.size).toBeGreaterThan(0);
        if (fraction > 0 && distinct > 1) expect(held.size).toBeGreaterThan(0);
        expect(Math.abs(held.size - fraction * distinct)).toBeLessThanOrEqual(1);
      },
    ),
  );
});

test("the split depends on seed and prompts, not on order", () => {
  const records = Array.from({ length: 50 }, (_, i) => record(`prompt ${i}`));
  const held = (list: typeof records, seed: number) => new Set(splitByPrompt(list, 0.2, seed).heldOut);
  expect(held(records, 1)).toEqual(held([...records].reverse(), 1));
  expect(held(records, 1)).not.toEqual(held(records, 2));
  expect(held(records, 1).size).toBe(10);
  expect(() => splitByPrompt(records, 1, 1)).toThrow(RangeError);
});

test("a conversation and its continuation are on one side, whatever the order of keys", () => {
  const turn = (role: Message["role"], content: string, i: number) =>
    (i % 2 ? { content, role } : { role, content }) as Message;
  const records = Array.from({ length: 200 }, (_, i) => {
    const about = Math.floor(i / 4);
    const begun = [turn("system", "Be kind.", i), turn("user", `prompt ${about}`, i)];
    const more = [turn("assistant", `answer ${i}`, i), turn("user", `and ${i}?`, i)];
    return { about, prompt: i % 4 < 2 ? begun : [...begun, ...more] };
  });
  const { train, heldOut } = splitByPrompt(records, 0.3, 1);
  const learned = new Set(train.map(({ about }) => about));
  expect(heldOut).toHaveLength(60);
  expect(heldOut.filter(({ about }) => learned.has(about))).toEqual([]);
});

test("an epoch's order is a permutation that the seed decides", () => {
  fc.assert(
    fc.property(fc.nat(200), fc.integer(), (n, seed) => {
      const order = shuffled(n, seed);
      expect(order).toEqual(shuffled(n, seed));
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: n }, (_, i) => i));
    }),
  );
  expect(shuffled(100, 1)).not.toEqual(shuffled(100, 2));
});

test("every position is equally likely", () => {
  const counts = [0, 0, 0, 0];
  for (let seed = 0; seed < 4000; seed++) {
    const place = shuffled(4, seed).indexOf(0);
    counts[place] = (counts[place] ?? 0) + 1;
  }
  for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(120); // 4.4 standard deviations
});
