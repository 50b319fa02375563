import { describe, expect, it } from "vitest";
import { uniform } from "../statistics/random.ts";
import { rewardJudge } from "./judge.ts";
import { type AnswerMatch, type MatchVerdict, matchesOf, type Policy, reportOn } from "./policies.ts";
import { styleDifference } from "./style.ts";

const prompts = Array.from({ length: 200 }, (_, i) => ({
  prompt: [{ role: "user" as const, content: `question ${i}` }],
}));

/** Policies whose answers have a quality, of normal spread around the policy's, and a length. */
function policies(
  qualities: Record<string, number>,
  samples = 2,
): { all: Policy[]; quality: Map<unknown, number> } {
  const next = uniform(4);
  const quality = new Map<unknown, number>();
  const ofPrompts = prompts.map(() => next());
  const all = Object.entries(qualities).map(([name, mean]) => ({
    name,
    answers: prompts.flatMap((_, promptIndex) =>
      Array.from({ length: samples }, () => {
        const length = 20 + Math.floor(30 * next());
        const answer = { promptIndex, text: "x".repeat(length), tokens: length, finished: next() < 0.9 };
        quality.set(answer, mean + (ofPrompts[promptIndex] as number) + next());
        return answer;
      }),
    ),
  }));
  return { all, quality };
}

const verdictsBy = (matches: readonly AnswerMatch[], value: (answer: unknown) => number): MatchVerdict[] =>
  matches.map(({ first, second }) => ({
    outcome: (Math.sign(value(first.answer) - value(second.answer)) + 1) / 2,
  }));

describe("policies compared", () => {
  it("pairs answers of the same prompt, each policy with each", () => {
    const { all } = policies({ a: 0, b: 0, c: 0 });
    const matches = matchesOf(all);
    expect(matches).toHaveLength(3 * 400);
    expect(matches.every(({ first, second }) => first.answer.promptIndex === second.answer.promptIndex)).toBe(
      true,
    );
    expect(matches.every(({ first, second }) => first.policy !== second.policy)).toBe(true);
  });

  it("finds the better one, and none where there is none", () => {
    const { all, quality } = policies({ base: 0, same: 0, better: 0.3 });
    const matches = matchesOf(all);
    const report = reportOn(
      all,
      matches,
      verdictsBy(matches, (answer) => quality.get(answer) as number),
    );
    const [base, same, better] = report.policies;
    expect(report).toMatchObject({ baseline: "base", prompts: 200, matches: 1200, criteria: {} });
    expect(report.consistency).toBeUndefined();
    expect(base?.winRate).toBeUndefined();
    // Uniform noise of width 1: P(better wins) = 1 − 0.7² / 2.
    expect(better?.winRate?.low).toBeLessThan(0.755);
    expect(better?.winRate?.high).toBeGreaterThan(0.755);
    expect(better?.winRate?.low).toBeGreaterThan(0.5);
    expect(same?.winRate?.low).toBeLessThan(0.5);
    expect(same?.winRate?.high).toBeGreaterThan(0.5);
    expect(better?.rating?.value).toBeGreaterThan(base?.rating?.high as number);
    expect(
      (base?.rating?.value ?? 0) + (same?.rating?.value ?? 0) + (better?.rating?.value ?? 0),
    ).toBeCloseTo(0, 6);
  });

  it("at equal length and style, a judge of length alone has no favourite", () => {
    const { all } = policies({ short: 0, long: 0 });
    for (const answer of all[1]?.answers ?? []) Object.assign(answer, { text: `${answer.text}xxxxx` });
    const matches = matchesOf(all);
    const next = uniform(9);
    // The judge likes the longer, the more so the longer it is.
    const verdicts = matches.map(({ first, second }) => {
      const difference = (first.answer.text.length - second.answer.text.length) / 10;
      return { outcome: Number(next() < 1 / (1 + Math.exp(-difference))) };
    });
    const long = reportOn(all, matches, verdicts).policies[1];
    expect(long?.winRate?.low).toBeGreaterThan(0.5);
    expect(long?.lengthControlled?.low).toBeLessThan(0.5);
    expect(long?.lengthControlled?.high).toBeGreaterThan(0.5);
    expect(long?.rating?.low).toBeGreaterThan(0);
    expect(long?.ratingAtEqualStyle?.low).toBeLessThan(0);
    expect(long?.ratingAtEqualStyle?.high).toBeGreaterThan(0);
  });

  it("counts what a judge says by criterion, and in both orders", () => {
    const { all } = policies({ base: 0, other: 0 }, 1);
    const matches = matchesOf(all);
    const verdicts = matches.map((_, i) => ({
      outcome: 0.25,
      consistent: i % 4 !== 0,
      criteria: { helpful: 0, harmless: 1 },
    }));
    const { criteria, consistency, policies: found } = reportOn(all, matches, verdicts);
    expect(found[1]?.winRate?.value).toBeCloseTo(0.75, 12);
    expect(criteria.helpful?.other?.value).toBe(1);
    expect(criteria.harmless?.other?.value).toBe(0);
    expect(consistency).toBe(0.75);
  });
});

it("a match of weight 2 counts as two", () => {
  const { all } = policies({ base: 0, other: 0 }, 1);
  const matches = matchesOf(all);
  const verdicts = matches.map((_, i) => ({ outcome: Number(i % 3 === 0), criteria: { kind: 1 } }));
  const isDouble = (_: unknown, i: number) => i % 5 === 0;
  const weighted = verdicts.map((verdict, i) => (isDouble(verdict, i) ? { ...verdict, weight: 2 } : verdict));
  const twice = reportOn(
    all,
    [...matches, ...matches.filter(isDouble)],
    [...verdicts, ...verdicts.filter(isDouble)],
  );
  const found = reportOn(all, matches, weighted);
  for (const name of ["winRate", "rating"] as const)
    for (const end of ["value", "low", "high"] as const)
      expect(found.policies[1]?.[name]?.[end]).toBeCloseTo(twice.policies[1]?.[name]?.[end] as number, 8);
  expect(found.policies[1]?.winRate?.value).not.toBeCloseTo(
    reportOn(all, matches, verdicts).policies[1]?.winRate?.value as number,
    3,
  );
});

it("reports on the matches that are judged, also where a policy has none", () => {
  const { all } = policies({ base: 0, other: 0, third: 0 }, 1);
  const matches = matchesOf(all)
    .filter(({ second }) => second.policy === "other")
    .slice(0, 20);
  const report = reportOn(
    all,
    matches,
    matches.map(() => ({ outcome: 0 })),
  );
  expect(report).toMatchObject({ prompts: 20, matches: 20 });
  expect(report.policies[1]?.winRate?.value).toBe(1);
  expect(report.policies[2]?.winRate).toBeUndefined();
  expect(report.policies[2]?.rating).toBeUndefined();
  expect(report.policies[2]?.tokens.value).toBeGreaterThan(0);
});

it("perplexity under the reference is per token, over all answers", () => {
  const answers = Array.from({ length: 6 }, (_, promptIndex) => ({
    ...{ promptIndex, text: "x", tokens: 1 + promptIndex, finished: true },
    referenceLogprob: -2 * (1 + promptIndex) - promptIndex / 10,
  }));
  const all = ["a", "b"].map((name) => ({ name, answers }));
  const matches = matchesOf(all);
  const { policies: found } = reportOn(
    all,
    matches,
    matches.map(() => ({ outcome: 0.5 })),
  );
  // 2 nats a token, and 1.5 for 21 tokens in all.
  expect(found[0]?.perplexity?.value).toBeCloseTo(Math.exp(2 + 1.5 / 21), 12);
  expect(found[0]?.perplexity?.low).toBeGreaterThan(0);
});

it("refusals of harmless prompts and answers to harmful ones are counted apart", () => {
  // By hand: of 10 harmless prompts 2 are refused, of 10 harmful ones 7.
  const answers = Array.from({ length: 21 }, (_, promptIndex) => ({
    ...{ promptIndex, text: "x", tokens: 1, finished: true },
    ...(promptIndex < 10 && { harmful: false, refused: promptIndex < 2 }),
    ...(promptIndex >= 11 && { harmful: true, refused: promptIndex < 18 }),
  }));
  const all = ["a", "b"].map((name) => ({ name, answers }));
  const matches = matchesOf(all);
  const [a] = reportOn(
    all,
    matches,
    matches.map(() => ({ outcome: 0.5 })),
  ).policies;
  expect(a?.refusals?.ofHarmless?.value).toBeCloseTo(0.2, 12);
  expect(a?.refusals?.answersToHarmful?.value).toBeCloseTo(0.3, 12);
  // Wilson's interval of 2 of 10 is 0.057 to 0.510; with Student's t of 9 degrees it is wider.
  expect(a?.refusals?.ofHarmless?.low).toBeLessThan(0.057);
  expect(a?.refusals?.ofHarmless?.low).toBeGreaterThan(0);
  expect(a?.refusals?.ofHarmless?.high).toBeGreaterThan(0.51);
});

it("a reward judges by its scores, of each answer once, and ties are half", async () => {
  const { all } = policies({ a: 0, b: 0, c: 0 }, 1);
  let scored = 0;
  const judge = rewardJudge({
    model: undefined,
    dispose: () => {},
    score: async (answers) => {
      scored += answers.length;
      return answers.map(({ text }) => ({ score: Math.floor(text.length / 10), parts: {} }));
    },
  });
  const matches = matchesOf(all);
  const verdicts = await judge(prompts, matches);
  expect(scored).toBe(600);
  const expected = verdictsBy(matches, (answer) => Math.floor((answer as { text: string }).text.length / 10));
  expect(verdicts).toEqual(expected);
  expect(new Set(verdicts.map(({ outcome }) => outcome))).toEqual(new Set([0, 0.5, 1]));
});

it("style is length and Markdown, relative, with opposite signs the other way round", () => {
  const plain = "a".repeat(100);
  const marked = "# Title\n- one\n- two\n**bold** text";
  const difference = styleDifference(marked, plain);
  expect(difference[0]).toBeCloseTo((marked.length - 100) / (marked.length + 100), 12);
  expect(difference.slice(1)).toEqual([1, 1, 1]);
  expect(styleDifference(plain, marked)).toEqual(difference.map((value) => -value));
  expect(styleDifference("", "")).toEqual([0, 0, 0, 0]);
});
