import fc from "fast-check";
import { expect, it } from "vitest";
import { selectResponses } from "./select.ts";

const sample = fc.record({
  promptIndex: fc.nat(4),
  score: fc.integer({ min: -3, max: 3 }),
  finishReason: fc.constantFrom("stop" as const, "length" as const),
});
const samples = fc.array(sample, { minLength: 1, maxLength: 30 });
const best = { keep: "best", bar: undefined, missingEosPenalty: 0 } as const;

it("keeps one response of each prompt, which no other response to it beats", () => {
  fc.assert(
    fc.property(samples, (samples) => {
      const kept = selectResponses(samples, best);
      const prompts = kept.map(({ promptIndex }) => promptIndex);
      expect([...prompts].sort()).toEqual([...new Set(samples.map(({ promptIndex }) => promptIndex))].sort());
      for (const { promptIndex, score } of samples)
        expect(kept.find((response) => response.promptIndex === promptIndex)?.score).toBeGreaterThanOrEqual(
          score,
        );
    }),
  );
});

it("keeps all responses that reach the bar, in their order, and no other", () => {
  fc.assert(
    fc.property(samples, fc.integer({ min: -3, max: 4 }), (samples, bar) => {
      const kept = selectResponses(samples, { ...best, keep: "above", bar });
      expect(kept).toEqual(samples.filter(({ score }) => score >= bar));
    }),
  );
});

it("lowers the score of a response that was cut off", () => {
  const cut = { promptIndex: 0, score: 2, finishReason: "length" as const };
  const ended = { promptIndex: 0, score: 1, finishReason: "stop" as const };
  const penalty = { missingEosPenalty: 1.5 };
  expect(selectResponses([cut, ended], best)).toEqual([cut]);
  expect(selectResponses([cut, ended], { ...best, ...penalty })).toEqual([ended]);
  expect(selectResponses([cut, ended], { keep: "above", bar: 1, ...penalty })).toEqual([ended]);
});

it("keeps the first of equal responses", () => {
  const equal = [0, 1].map((id) => ({ id, promptIndex: 0, score: 1, finishReason: "stop" as const }));
  expect(selectResponses(equal, best)).toEqual([equal[0]]);
});
