import { expect, test } from "vitest";
import { mean } from "../statistics/numbers.ts";
import { uniform } from "../statistics/random.ts";
import { labelers, rank } from "./labelers.ts";
import { gold, type Instruction, loadDemonstrations, loadInstructions } from "./task.ts";

const instructions = new Map(loadInstructions("train").map((instruction) => [instruction.id, instruction]));
const demonstrations = loadDemonstrations();

/** Pairs of answers to one instruction, the better first: demonstrations and corruptions of them. */
const pairs = demonstrations.flatMap(({ id, completion }, i) => {
  const instruction = instructions.get(id) as Instruction;
  const answers = [
    completion,
    `${completion} And, of course, there is so much MORE to say.`,
    demonstrations[(i + 7) % demonstrations.length]?.completion ?? "",
    completion.toUpperCase().replaceAll("\n", ", "),
  ].map((text) => ({ text, finished: true }));
  const score = answers.map((answer) => gold(instruction, answer.text, answer));
  return answers.flatMap((better, j) =>
    answers
      .filter((_, k) => (score[j] as number) > (score[k] as number))
      .map((worse) => ({ instruction, answers: [better, worse] })),
  );
});

test("labelers agree with gold more often than chance, not always, and the careful ones most", () => {
  const rates = labelers(0).map((labeler) => {
    const random = uniform(1);
    return mean(
      pairs.map(({ instruction, answers }) => {
        const [first = 0, second = 0] = rank(instruction, answers, labeler, random);
        return first === second ? 0.5 : Number(first < second);
      }),
    );
  });
  expect(mean(rates)).toBeGreaterThan(0.65);
  expect(mean(rates)).toBeLessThan(0.95);
  expect(Math.min(...rates)).toBeGreaterThan(0.65);
  expect(rates[0]).toBeGreaterThan((rates[4] as number) + 0.05);
});

test("five labelers, from careful to careless, the same for a seed", () => {
  const people = labelers(3);
  expect(people).toEqual(labelers(3));
  expect(people).not.toEqual(labelers(4));
  expect(new Set(people.map(({ name }) => name)).size).toBe(5);
  for (const { noise } of people) {
    expect(noise).toBeGreaterThanOrEqual(0.05);
    expect(noise).toBeLessThanOrEqual(0.2);
  }
});

test("ranks count from 1, and what seems equally good ties", () => {
  const instruction: Instruction = {
    id: "test",
    topic: "tea",
    split: "train",
    prompt: "Tell me about tea without commas.",
    constraints: [{ kind: "noCommas" }],
    about: ["tea"],
  };
  const exact = { name: "exact", noise: 0, lengthBias: 0, tidinessBias: 0 };
  const answers = ["Tea is warm, kind, cheap.", "Tea is warm and kind.", "", "I do like a cup of tea."];
  const given = answers.map((text) => ({ text, finished: true }));
  expect(rank(instruction, given, exact, uniform(0))).toEqual([3, 1, 4, 1]);
  expect(rank(instruction, [], exact, uniform(0))).toEqual([]);

  const fondOfLength = { ...exact, lengthBias: 1 };
  expect(rank(instruction, given, fondOfLength, uniform(0))).toEqual([3, 2, 4, 1]);
});
