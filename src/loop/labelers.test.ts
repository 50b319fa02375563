import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AnswerMatch } from "../eval/policies.ts";
import { parseLoop } from "./config.ts";
import { tasksOfMatches, verdictsOfPeople } from "./judge.ts";
import { divide, simulate } from "./labelers.ts";

const share = fc.double({ min: 0.1, max: 10, noNaN: true });
const labelers = fc.record({ simulated: share, ai: share, people: share }, { requiredKeys: ["ai"] });

it("divides prompts in proportion to the shares, each prompt once", () => {
  fc.assert(
    fc.property(labelers, fc.nat(60), (shares, count) => {
      const items = Array.from({ length: count }, (_, i) => i);
      const config = Object.fromEntries(Object.entries(shares).map(([kind, share]) => [kind, { share }]));
      const parts = divide(items, config as never);
      expect([...parts.values()].flat().sort((a, b) => a - b)).toEqual(items);
      const total = Object.values(shares).reduce((a, b) => a + b, 0);
      // With two or three kinds Sainte-Laguë's method stays within one of the exact share (Balinski & Young 1982).
      for (const [kind, part] of parts)
        expect(Math.abs(part.length - (count * (shares[kind] as number)) / total)).toBeLessThan(1);
    }),
  );
});

describe("a simulated labeler", () => {
  const reward = { length: { max: 10_000 } };
  it("without noise ranks by the reward, equal scores tied", async () => {
    const rows = [{ prompt: [], completions: ["12 a", "12 b", "a 12 c"] }];
    const [comparison] = await simulate(
      rows,
      { reward: { regex: { pattern: "^12" } }, noise: 0, tieMargin: 0 },
      0,
    );
    expect(comparison?.ranks).toEqual([1, 1, 3]);
    expect(await simulate([], { reward, noise: 0, tieMargin: 0 }, 0)).toEqual([]);
  });

  it("with noise errs as often as normal noise on both scores does", async () => {
    const count = 4000;
    const rows = Array.from({ length: count }, () => ({ prompt: [], completions: ["12", "no"] }));
    // Scores of 1 and 0, each seen with deviation 1: wrong with probability Φ(−1/√2) = 0.2398.
    const judged = await simulate(rows, { reward: { regex: { pattern: "^12" } }, noise: 1, tieMargin: 0 }, 3);
    const wrong = judged.filter(({ ranks }) => (ranks[0] as number) > (ranks[1] as number)).length / count;
    // Five standard errors.
    expect(Math.abs(wrong - 0.2398)).toBeLessThan(5 * Math.sqrt((0.2398 * 0.7602) / count));
  });
});

describe("people as judges of policies", () => {
  const prompts = ["a", "b"].map((content) => ({ prompt: [{ role: "user" as const, content }] }));
  const answer = (promptIndex: number, text: string) => ({ promptIndex, text, tokens: 1, finished: true });
  const match = (promptIndex: number, first: string, second: string): AnswerMatch => ({
    first: { policy: "old", answer: answer(promptIndex, first) },
    second: { policy: "new", answer: answer(promptIndex, second) },
  });
  const matches = [match(0, "x", "y"), match(0, "y", "x"), match(0, "x", "x"), match(1, "x", "y")];

  it("get each pair of different answers to a prompt once", () => {
    expect(
      tasksOfMatches(prompts, matches).map(({ prompt, completions }) =>
        [prompt[0]?.content, ...completions].sort(),
      ),
    ).toEqual([
      ["a", "x", "y"],
      ["b", "x", "y"],
    ]);
  });

  it("decide every match of the pair in its order; equal and undecided answers tie", () => {
    const { prompt } = prompts[0] as (typeof prompts)[0];
    const better = { prompt, completions: ["y", "x"], ranks: [1, 2] };
    expect(verdictsOfPeople(prompts, matches, [better]).map(({ outcome }) => outcome)).toEqual([
      0, 1, 0.5, 0.5,
    ]);
    const worse = { prompt, completions: ["x", "y"], ranks: [1, 2] };
    expect(verdictsOfPeople(prompts, matches, [better, better, worse])[0]?.outcome).toBeCloseTo(1 / 3, 10);
  });
});

it("names what is wrong with a recipe, with the nearest key", () => {
  const recipe = { policy: "p", prompts: "f", labelers: { simulated: { reward: "r" } }, ppo: {} };
  expect(parseLoop(recipe).config.rounds).toBe(3);
  expect(() => parseLoop({ ...recipe, labellers: {} })).toThrow(/"labellers" \(did you mean "labelers"\?\)/);
  expect(() => parseLoop({ ...recipe, ppo: { batchsize: 3 } })).toThrow(/did you mean "ppo.batchSize"/);
  expect(() => parseLoop({ ...recipe, grpo: {} })).toThrow(/one optimiser: ppo or grpo/);
  expect(() => parseLoop({ ...recipe, labelers: {} })).toThrow(/nobody compares the answers/);
});
