import { describe, expect, test } from "vitest";
import {
  type Constraint,
  gold,
  type Instruction,
  loadDemonstrations,
  loadInstructions,
  satisfied,
} from "./task.ts";

const finished = { finished: true };
const train = loadInstructions("train");
const heldOut = loadInstructions("heldOut");
const all = [...train, ...heldOut];

const asking = (...constraints: Constraint[]): Instruction => ({
  id: "test",
  topic: "tea",
  split: "train",
  prompt: "Say something nice about tea.",
  constraints,
  about: ["tea", "kettle", "brew", "thé", "té"],
});

const three = "- Tea is warm\n- It smells good\n- It calms you";
const steps = "1. Boil the water.\n2. Pour it over the tea.";

const examples: [Constraint, { met: string[]; unmet: string[] }][] = [
  [
    { kind: "maxWords", n: 6 },
    {
      met: ["Tea warms the coldest mornings.", "Tea is well-loved."],
      unmet: ["I like to drink tea on a cold day."],
    },
  ],
  [
    { kind: "lowercase" },
    { met: ["tea is warm and kind."], unmet: ["Tea is warm and kind.", "when i drink tea I smile."] },
  ],
  [
    { kind: "uppercase" },
    {
      met: ["TEA IS WARM AND KIND.", "IT'S 4 O'CLOCK: TEA!"],
      unmet: ["TEA is WARM AND KIND.", "Tea is warm."],
    },
  ],
  [{ kind: "noCommas" }, { met: ["Tea is warm and kind."], unmet: ["Tea is warm, cheap, and kind."] }],
  [
    { kind: "bullets", n: 3 },
    {
      met: [three, `Here is why:\n${three}`, three.replaceAll("\n", "\n\n")],
      unmet: [
        `${three}\n- It is cheap`,
        `${three}\nI hope this helps you.`,
        three.replaceAll("- ", "* "),
        "- Tea is warm\n- Tea is warm\n- Tea is warm",
        "- Tea is warm - It smells good - It calms you",
        "- Tea is a warm drink\n- \n- ",
      ],
    },
  ],
  [
    { kind: "numbered", n: 2 },
    {
      met: [steps, `To make tea:\n${steps}`],
      unmet: [
        `${steps}\n3. Wait for a while.`,
        "1. Boil the water.\n1. Pour it over the tea.",
        "Boil the water. Pour tea.",
      ],
    },
  ],
  [
    { kind: "startsWith", text: "Every day" },
    {
      met: ["Every day I drink tea.", "Every day, the kettle sings."],
      unmet: ["every day I drink tea.", "I drink tea every day.", "Every night I drink tea."],
    },
  ],
  [
    { kind: "endsWith", text: "How lovely!" },
    {
      met: ["We have tea at four. How lovely!"],
      unmet: ["We have tea at four. How lovely", "How lovely! We have tea at four.", "We have tea at four."],
    },
  ],
  [
    { kind: "endsWithQuestion" },
    {
      met: ["I like tea. Do you?", 'Tea is warm. She asked: "Do you want some?"'],
      unmet: ["Do you like tea or not?", "Do you like tea? I do.", "I like tea a lot."],
    },
  ],
  [
    { kind: "includes", words: ["warm", "cup"] },
    {
      met: ["A warm cup of tea.", "My cup of tea is Warm."],
      unmet: ["My cup of tea.", "Warmer cups of tea."],
    },
  ],
  [
    { kind: "avoids", words: ["drink"] },
    { met: ["Tea is warm and kind."], unmet: ["Tea is a warm drink.", "Tea is the best of all drinks."] },
  ],
  [
    { kind: "sentences", n: 2 },
    {
      met: ["Tea is warm. It costs 2.50 today!", "Tea is warm\nIt smells good"],
      unmet: ["Tea is warm and kind.", "Tea is warm. It is kind. I like it.", "Tea is warm. Tea is warm."],
    },
  ],
  [
    { kind: "language", language: "french" },
    {
      met: ["Le thé est une boisson chaude.", "J'aime boire du thé le matin."],
      unmet: [
        "Tea is a warm drink.",
        "El té es una bebida caliente.",
        "Le tea is a drink that I like and love.",
      ],
    },
  ],
  [
    { kind: "language", language: "spanish" },
    {
      met: ["El té es una bebida caliente.", "Me gusta el té por la mañana."],
      unmet: ["Tea is a warm drink.", "Le thé est une boisson chaude.", "J'aime la tasse de thé que tu as."],
    },
  ],
  [
    { kind: "order", words: ["kettle", "leaves", "cup"] },
    {
      met: [
        "Fill the kettle, add the leaves and take a cup.",
        "The cup and kettle wait for leaves and a cup.",
      ],
      unmet: ["Take a cup, add leaves and fill the kettle.", "Fill the kettle and take a cup."],
    },
  ],
];

describe.each(examples)("%j", (constraint, { met, unmet }) => {
  test.each(met)("is met by %j", (response) => {
    expect(gold(asking(constraint), response, finished)).toBe(1);
    expect(satisfied(asking(constraint), response, finished)).toBe(true);
  });

  test.each(unmet)("is not met by %j", (response) => {
    expect(gold(asking(constraint), response, finished)).toBeLessThan(1);
    expect(satisfied(asking(constraint), response, finished)).toBe(false);
  });
});

test("every kind of constraint has examples, and is asked for in both splits", () => {
  const kinds = [...new Set(examples.map(([{ kind }]) => kind))].sort();
  for (const split of [train, heldOut]) {
    expect([...new Set(split.flatMap((i) => i.constraints.map(({ kind }) => kind)))].sort()).toEqual(kinds);
  }
});

test("credit increases as an answer comes closer", () => {
  const rising = (instruction: Instruction, responses: string[]) => {
    const scores = responses.map((response) => gold(instruction, response, finished));
    for (const [i, score] of scores.slice(1).entries()) expect(score).toBeGreaterThan(scores[i] as number);
  };
  rising(asking({ kind: "maxWords", n: 4 }), ["I like a nice tea.", "I like nice tea."]);
  rising(asking({ kind: "bullets", n: 3 }), ["Tea is warm and kind.", "- Tea is warm\n- It is kind", three]);
  rising(asking({ kind: "lowercase" }), [
    "Tea Is Warm Here.",
    "Tea is warm Here.",
    "Tea is warm here.",
    "tea is warm here.",
  ]);
  rising(asking({ kind: "uppercase" }), ["Tea is warm here.", "TEA IS warm here.", "TEA IS WARM HERE."]);
  rising(asking({ kind: "includes", words: ["warm", "cup"] }), [
    "I do like tea.",
    "I like warm tea.",
    "A warm cup of tea.",
  ]);
});

describe("faults", () => {
  const short = asking({ kind: "maxWords", n: 20 });
  test.each([
    ["empty", "", 0],
    ["blank", " \n ", 0],
    ["punctuation", "... !!!", 0],
    ["one word", "Tea.", 0.5],
    ["a word over and over", "tea tea tea tea tea tea tea tea tea tea tea tea tea tea", 0.5],
    ["a sentence twice", "Tea is warm and kind. Tea is warm and kind.", 0.5],
    ["no grammar", "tea cup leaf brew drink kettle steam milk", 0.5],
    ["the request again", "Say something nice about tea.", 0.5],
    ["another topic", "I have a red car that goes fast.", 0.5],
    ["another topic, over and over", "Yes yes yes yes yes yes yes yes yes yes yes yes yes.", 0.25],
  ])("%s", (_, response, score) => {
    expect(gold(short, response, finished)).toBe(score);
    expect(satisfied(short, response, finished)).toBe(false);
  });

  test("an answer that was cut off", () => {
    expect(gold(short, "Tea is warm and", { finished: false })).toBe(0.5);
    expect(gold(short, "Tea is warm and kind.", finished)).toBe(1);
  });
});

test("no one answer does well on every instruction", () => {
  const offTopic = [
    "",
    "- \n- \n- ",
    "yes yes yes yes yes yes?",
    "I think that it is very good.",
    "That is all. How lovely! What do you think of it?",
    "- it is very good\n- we like it a lot\n- you will too",
  ];
  for (const instruction of heldOut) {
    for (const trick of [...offTopic, instruction.prompt]) {
      expect(gold(instruction, trick, finished), trick).toBeLessThanOrEqual(0.5);
    }
  }
  const template = heldOut.map((instruction) =>
    gold(instruction, `i do love ${instruction.topic}.`, finished),
  );
  expect(template.reduce((a, b) => a + b) / template.length).toBeLessThan(0.6);
});

test("there are enough instructions, each once, and the splits share no topic", () => {
  expect(train.length).toBeGreaterThanOrEqual(300);
  expect(heldOut.length).toBeGreaterThanOrEqual(100);
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length);
  expect(new Set(all.map(({ prompt }) => prompt)).size).toBe(all.length);
  const topics = new Set(train.map(({ topic }) => topic));
  expect(heldOut.filter(({ topic }) => topics.has(topic))).toEqual([]);
});

test("the demonstrations answer training instructions, and answer them fully", () => {
  const demonstrations = loadDemonstrations();
  expect(demonstrations.length).toBeGreaterThanOrEqual(200);
  expect(new Set(demonstrations.map(({ id }) => id)).size).toBe(demonstrations.length);
  const byId = new Map(train.map((instruction) => [instruction.id, instruction]));
  for (const { id, prompt, completion } of demonstrations) {
    const instruction = byId.get(id) as Instruction;
    expect(prompt).toEqual([{ role: "user", content: instruction.prompt }]);
    expect(gold(instruction, completion, finished), completion).toBe(1);
    expect(satisfied(instruction, completion, finished)).toBe(true);
    expect(gold(instruction, completion, { finished: false })).toBe(0.5);
    expect(completion.split(/\s+/).length, completion).toBeLessThanOrEqual(40);
  }
});
