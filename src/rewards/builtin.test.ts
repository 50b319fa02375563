import { describe, expect, it } from "vitest";
import { answer, format, jsonSchema, length, numeric, regex, repetition } from "./builtin.ts";
import type { RewardFunction } from "./scorer.ts";

const score = (reward: RewardFunction, text: string, metadata: Record<string, unknown> = {}) =>
  reward([{ role: "user", content: "?" }], text, metadata);

describe("ready rewards", () => {
  it("length: 1 within the limits, less outside, 0 for an empty text and at twice `max`", () => {
    const reward = length({ min: 4, max: 10 });
    expect(
      ["", "ab", "abcd", "0123456789", "012345678901234", "x".repeat(20), "x".repeat(50)].map((text) =>
        score(reward, text),
      ),
    ).toEqual([0, 0.5, 1, 1, 0.5, 0, 0]);
  });

  it("regex: 1 for a match, 0 for none, the same at every call; a bad pattern is refused", () => {
    const reward = regex({ pattern: "^yes\\b", flags: "gi" });
    for (let i = 0; i < 3; i++) expect([score(reward, "Yes, so"), score(reward, "oh yes")]).toEqual([1, 0]);
    expect(() => regex({ pattern: "(" })).toThrow(/no regular expression/);
  });

  it("format: the tags, in order, each once, and nothing else", () => {
    const reward = format({ tags: ["think", "answer"] });
    const good = "<think>\nhm\n</think>\n<answer>4</answer>";
    const bad = [
      "",
      "<answer>4</answer><think>hm</think>",
      `${good} and more`,
      "<think>hm</think>",
      "<think></think><answer>4</answer>",
      "<think>a</think><think>b</think><answer>4</answer>",
      "<think>a<answer>4</answer></think><answer>4</answer>",
    ];
    expect(score(reward, good)).toBe(1);
    expect(bad.map((text) => score(reward, text))).toEqual(bad.map(() => 0));
  });

  it("jsonSchema: 1 for JSON that fits, 0.5 for other JSON, else 0; also in a code fence", () => {
    const reward = jsonSchema({ type: "object", required: ["a"], properties: { a: { type: "integer" } } });
    expect(
      ['{"a": 1}', '```json\n{"a": 1}\n```', '{"a": "1"}', "[]", "{a: 1}", ""].map((text) =>
        score(reward, text),
      ),
    ).toEqual([1, 1, 0.5, 0.5, 0, 0]);
    expect(() => jsonSchema({ type: "objekt" })).toThrow(/jsonSchema/);
  });

  it("answer: equal to the row's, ignoring case and white space; extracted by a pattern", () => {
    expect(score(answer({}), "  New\nYork ", { answer: "new york" })).toBe(1);
    expect(score(answer({}), "It is New York", { answer: "new york" })).toBe(0);
    const tagged = answer({ field: "city", extract: "<answer>(.*?)</answer>" });
    expect(score(tagged, "<answer>Rome</answer> no, <answer>Oslo</answer>", { city: "Oslo" })).toBe(1);
    expect(score(tagged, "Oslo", { city: "Oslo" })).toBe(0);
    expect(() => score(answer({}), "x")).toThrow(/no "answer"/);
  });

  it("numeric: the last number, however it is written", () => {
    const cases: [string, unknown, number][] = [
      ["3 and 4 make 7.", 7, 1],
      ["It is 1,234.5", "#### 1234.5", 1],
      ["−3", -3, 1],
      ["2/3", 0.6666666667, 1],
      ["1e3", 1000, 1],
      ["no number", 5, 0],
      ["7 or 8", 7, 0],
    ];
    for (const [text, right, expected] of cases)
      expect(score(numeric({ tolerance: 1e-6 }), text, { answer: right }), text).toBe(expected);
    expect(() => score(numeric({}), "5", { answer: "five" })).toThrow(/holds no number/);
  });

  it("repetition: minus the share of repeated n-grams", () => {
    expect(score(repetition({ size: 1 }), "a b c")).toBe(0);
    expect(score(repetition({ size: 1 }), "a a a a")).toBe(-0.75);
    expect(score(repetition({ size: 2 }), "so it is, so it is")).toBeCloseTo(-2 / 5);
    expect(score(repetition({}), "one two")).toBe(0);
  });
});
