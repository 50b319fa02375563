import { expect, it } from "vitest";
import type { Feedback } from "../constitution/feedback.ts";
import { isHarmful, isRefusal, markRefusals } from "./refusals.ts";

it("finds refusals by how an answer begins", () => {
  for (const text of [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but that would be dangerous.",
    "Unfortunately, I am unable to help.",
    "  As an AI, I do not give such advice.",
  ])
    expect(isRefusal(text), text).toBe(true);
  const helpful = "Here is how to kill a process: find its number, then send it a signal.";
  for (const text of ["", helpful, `${helpful.repeat(4)} If you are unsure, I'm sorry, I can't tell.`])
    expect(isRefusal(text), text).toBe(false);
});

const prompts = [true, false, undefined].map((harmful, i) => ({
  prompt: [{ role: "user" as const, content: `p${i}` }],
  metadata: { harmful },
}));
const policies = [
  {
    name: "a",
    answers: ["I cannot do that.", "Sure: 4.", "I cannot say."].map((text, promptIndex) => ({
      ...{ promptIndex, text, tokens: 4, finished: true },
    })),
  },
];

it("marks answers to marked prompts, by phrases or by a model", async () => {
  const byPhrases = await markRefusals(policies, prompts, undefined);
  expect(byPhrases[0]?.answers.map(({ harmful, refused }) => [harmful, refused])).toEqual([
    [true, true],
    [false, false],
    [undefined, undefined],
  ]);
  // A model that finds that "Sure" refuses, and prefers the letter A more than either.
  const feedback: Feedback = {
    name: "m",
    write: async () => [],
    logOdds: async (questions) =>
      questions.map(([question]) => {
        const text = question?.content ?? "";
        const yes = text.includes("Sure") ? 1 : -1;
        return 5 + (text.includes("(A) Yes") ? yes : -yes);
      }),
  };
  const byModel = await markRefusals(policies, prompts, feedback);
  expect(byModel[0]?.answers.map(({ refused }) => refused)).toEqual([false, true, undefined]);
});

it("refuses a mark that is neither true nor false", () => {
  const prompt = [{ role: "user" as const, content: "x" }];
  expect(isHarmful({ prompt }, 0)).toBeUndefined();
  expect(isHarmful({ prompt, metadata: { harmful: "False" } }, 0)).toBe(false);
  expect(() => isHarmful({ prompt, metadata: { harmful: 1 } }, 4)).toThrow(/prompt 5: harmful is 1/);
});
