import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { InputError } from "./errors.ts";
import {
  checkData,
  readComparisons,
  readComparisonsAndMetadata,
  readDemonstrations,
  readPrompts,
} from "./readers.ts";

const dir = mkdtempSync(join(tmpdir(), "plumbline-readers-"));
function file(...rows: unknown[]): string {
  const path = join(dir, "data.jsonl");
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join("\n"));
  return path;
}
const user = (content: string) => ({ role: "user", content });
const assistant = (content: string) => ({ role: "assistant", content });
const sky = [user("Sky?")];

test.each([
  ["prompt-completion", { prompt: "Sky?", completion: "blue" }],
  ["prompt-completion", { prompt: sky, completion: [assistant("blue")] }],
  ["messages", { messages: [...sky, assistant("blue")] }],
])("a %s row is a demonstration", async (format, row) => {
  const { records, report } = await readDemonstrations(file(row));
  expect(records).toEqual([{ prompt: sky, completion: "blue" }]);
  expect(report).toMatchObject({ format, rows: 1, kept: 1, dropped: {} });
});

test("a conversation is learned from in all its assistant turns, and loses a user's last one", async () => {
  const messages = [...sky, assistant("blue"), user("Sea?"), assistant("green")];
  const { records, report } = await readDemonstrations(file({ messages: [...messages, user("Why?")] }));
  expect(report.notes).toEqual({ "turns after the last assistant turn left out": 1 });
  expect(records).toEqual([{ prompt: messages.slice(0, -1), completion: "green", learnPrompt: true }]);
});

test("tool calls, reasoning and parts of text are read", async () => {
  const call = { type: "function", function: { name: "look", arguments: { where: "up" } } };
  const tools = [{ type: "function", function: { name: "look" } }];
  const messages = [
    {
      role: "user",
      content: [
        { type: "text", text: "Sky" },
        { type: "text", text: "?" },
      ],
    },
    { role: "assistant", content: null, tool_calls: [call], reasoning_content: "I look." },
  ];
  const { records } = await readDemonstrations(file({ messages, tools }));
  const reply = { role: "assistant", content: "", tool_calls: [call], reasoning_content: "I look." };
  expect(records).toEqual([{ prompt: sky, completion: reply, tools }]);
  const image = [{ role: "user", content: [{ type: "image" }] }, assistant("blue")];
  await expect(readDemonstrations(file({ messages: image }))).rejects.toThrow(
    /data.jsonl:1: messages.0.content/,
  );
});

test("a row of Alpaca's is an instruction with its input", async () => {
  const { records, report } = await readDemonstrations(
    file(
      { instruction: "Name the color.", input: "Sky", output: "blue", system: "Be brief." },
      { instruction: "And now?", input: "", output: "grey", history: [["Sky?", "blue"]] },
    ),
  );
  expect(report.format).toBe("Alpaca");
  expect(records).toEqual([
    {
      prompt: [{ role: "system", content: "Be brief." }, user("Name the color.\n\nSky")],
      completion: "blue",
    },
    { prompt: [...sky, assistant("blue"), user("And now?")], completion: "grey" },
  ]);
});

test("a row of ShareGPT's is a conversation", async () => {
  const human = (value: string) => ({ from: "human", value });
  const gpt = (value: string) => ({ from: "gpt", value });
  const { records, report } = await readDemonstrations(
    file(
      { id: "a", conversations: [gpt("Hello."), human("Sky?"), gpt("blue")], system: "Be brief." },
      {
        conversations: [
          human("Sky?"),
          { from: "function_call", value: '{"name": "look", "arguments": {}}' },
          { from: "observation", value: "blue" },
          gpt("It is blue."),
        ],
        tools: '[{"name": "look"}]',
      },
      { conversations: [human("Sky?")] },
      { conversations: [{ from: "nobody", value: "?" }] },
    ),
  );
  expect(report).toMatchObject({
    format: "ShareGPT",
    kept: 2,
  });
  expect(Object.entries(report.dropped)).toEqual([
    ["no assistant message", 1],
    [expect.stringMatching(/^malformed row: conversations: /), 1],
  ]);
  expect(records).toEqual([
    { prompt: [{ role: "system", content: "Be brief." }, ...sky], completion: "blue" },
    {
      prompt: [
        ...sky,
        {
          role: "assistant",
          content: "",
          tool_calls: [{ type: "function", function: { name: "look", arguments: {} } }],
        },
        { role: "tool", content: "blue" },
      ],
      completion: "It is blue.",
      tools: [{ name: "look" }],
      learnPrompt: true,
    },
  ]);
});

test("columns of any name are read under the names of a format", async () => {
  const path = file({ question: "Sky?", good: "blue", bad: "green", prompt: 7, source: "web" });
  const columns = { prompt: "question", chosen: "good", rejected: "bad" };
  const { records, report } = await readComparisons(path, columns);
  expect(records).toEqual([{ prompt: sky, completions: ["blue", "green"], ranks: [0, 1] }]);
  expect(report.unused).toEqual(["source"]);
  const table = join(dir, "named.csv");
  writeFileSync(table, "question,good,bad\n42,1,2\n");
  expect((await readComparisons(table, columns)).records).toEqual([
    { prompt: [user("42")], completions: ["1", "2"], ranks: [0, 1] },
  ]);
  await expect(readComparisons(path, { prompt: "query" })).rejects.toThrow(
    'there is no column "query" to read as prompt; the columns are question, good, bad, prompt, source',
  );
});

const tree = {
  message_tree_id: "t",
  prompt: {
    text: "Sky?",
    role: "prompter",
    replies: [
      {
        text: "blue",
        role: "assistant",
        rank: 1,
        replies: [{ text: "Why?", role: "prompter", replies: [] }],
      },
      { text: "green", role: "assistant", rank: 2 },
      { text: "unranked", role: "assistant", rank: null },
      { text: "azure", role: "assistant", rank: 0 },
    ],
  },
};
const ultra = (response: string, ...ratings: string[]) => ({
  response,
  annotations: Object.fromEntries(ratings.map((Rating, i) => [`aspect${i}`, { Rating }])),
});
const choice = (selected: string, more = {}) => ({
  completed_by: 7,
  result: [{ type: "pairwise", value: { selected } }],
  ...more,
});
const bluePair = { prompt: sky, completions: ["blue", "green"], ranks: [0, 1] };
const greenPair = { prompt: sky, completions: ["green", "blue"], ranks: [1, 0] };

test.each<[string, unknown, unknown]>([
  [
    "rankings",
    { prompt: "Sky?", completions: ["a", "b", "c"], ranks: [2, 1, 1], labeler: 3 },
    { prompt: sky, completions: ["a", "b", "c"], ranks: [2, 1, 1], labeler: "3" },
  ],
  [
    "preference",
    { prompt: "Sky?", chosen: "blue", rejected: "green", margin: 2 },
    { ...bluePair, margins: 2 },
  ],
  ["preference", { prompt: sky, chosen: [assistant("blue")], rejected: [assistant("green")] }, bluePair],
  [
    "preference",
    { prompt: "Sky?", chosen: [...sky, assistant("blue")], rejected: [...sky, assistant("green")] },
    bluePair,
  ],
  [
    "preference, implicit prompt",
    { chosen: [...sky, assistant("blue")], rejected: [...sky, assistant("green")] },
    bluePair,
  ],
  [
    "preference, implicit prompt",
    { chosen: "The sky is blue", rejected: "The sky is black" },
    { prompt: [user("The sky is")], completions: ["blue", "black"], ranks: [0, 1] },
  ],
  [
    "hh-rlhf",
    {
      chosen: "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Sky?\n\nAssistant: blue",
      rejected: "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Sky?\n\nAssistant: green",
    },
    { ...bluePair, prompt: [user("Hi"), assistant("Yes?"), ...sky] },
  ],
  [
    "preference with ratings",
    {
      chosen: [...sky, assistant("blue")],
      rejected: [...sky, assistant("green")],
      chosen_rating: 5,
      rejected_rating: 2,
    },
    bluePair,
  ],
  [
    "OpenAI summarise",
    {
      info: { id: "1", post: "Long.", title: "T", subreddit: "s" },
      summaries: [{ text: " green" }, { text: " blue" }],
      choice: 1,
      worker: "w",
    },
    {
      ...greenPair,
      prompt: [user("SUBREDDIT: r/s\n\nTITLE: T\n\nPOST: Long.\n\nTL;DR:")],
      labeler: "w",
    },
  ],
  ["Open Assistant tree", tree, { prompt: sky, completions: ["blue", "green", "azure"], ranks: [1, 2, 0] }],
  [
    "UltraFeedback",
    {
      instruction: "Sky?",
      completions: [ultra("green", "1", "2"), ultra("blue", "5", "N/A"), ultra("x", "N/A")],
    },
    greenPair,
  ],
  ["LLMBar", { input: "Sky?", output_1: "green", output_2: "blue", label: 2 }, greenPair],
  ["SHP", { history: "Sky?", human_ref_A: "green", human_ref_B: "blue", labels: 0 }, greenPair],
  [
    "Label Studio pairwise",
    {
      data: { prompt: "Sky?", answer1: "green", answer2: "blue" },
      annotations: [choice("right"), choice("left", { was_cancelled: true })],
    },
    { ...greenPair, labeler: "7" },
  ],
])("a %s row is a comparison", async (format, row, record) => {
  const { records, report } = await readComparisons(file(row));
  expect(report.format).toBe(format);
  expect(records).toEqual([record]);
});

test("records without information are dropped and counted, with the first line numbers", async () => {
  const pair = (chosen: string, rejected: string, prompt = "p") => ({ prompt, chosen, rejected });
  const path = file(
    pair("a", "b"),
    pair("same", "same"),
    pair("Near  same", "near same "),
    pair(" ", "b"),
    pair("a", "b"),
    pair("a", "b", " "),
    ...Array.from({ length: 4 }, () => pair("x", "x")),
  );
  expect((await readComparisons(path)).report).toEqual({
    file: path,
    format: "preference",
    kind: "comparison",
    rows: 10,
    kept: 1,
    dropped: {
      "identical completions": 5,
      "near-identical completions": 1,
      "empty reply": 1,
      duplicate: 1,
      "empty prompt": 1,
    },
    examples: {
      "identical completions": [2, 7, 8],
      "near-identical completions": [3],
      "empty reply": [4],
      duplicate: [5],
      "empty prompt": [6],
    },
    notes: {},
    unused: [],
  });
});

test("differing prefixes and ties are dropped", async () => {
  const human = (question: string, answer: string) => `\n\nHuman: ${question}\n\nAssistant: ${answer}`;
  const { report } = await readComparisons(
    file(
      { chosen: human("a", "x"), rejected: human("a", "y") },
      { chosen: human("a", "x"), rejected: human("b", "y") },
      { chosen: human("a", "x") + human("c", "z"), rejected: human("a", "y") },
    ),
  );
  expect(report).toMatchObject({ format: "hh-rlhf", kept: 1, dropped: { "differing prefixes": 2 } });
  const ties = file({ prompt: "p", completions: ["a", "b"], ranks: [1, 1] });
  await expect(readComparisons(ties)).rejects.toThrow(
    /none of the 1 rows can be used: 1 no strict preference/,
  );
});

test("a ranking loses a repeated or empty reply, not its other replies", async () => {
  const { records } = await readComparisons(
    file({ prompt: "p", completions: ["a", "A ", "", "b"], ranks: [0, 1, 2, 3] }),
  );
  expect(records[0]).toMatchObject({ completions: ["a", "b"], ranks: [0, 3] });
});

test("the same pair written the other way round is a duplicate; another labeler's is not", async () => {
  const { report } = await readComparisons(
    file(
      { prompt: "p", completions: ["a", "b"], ranks: [0, 1] },
      { prompt: "p", completions: ["b", "a"], ranks: [1, 0] },
      { prompt: "p", completions: ["a", "b"], ranks: [0, 1], labeler: "x" },
    ),
  );
  expect(report).toMatchObject({ kept: 2, dropped: { duplicate: 1 } });
});

test("a malformed row of plumbline's format is an error with its line, and is counted by checkData", async () => {
  const good = { prompt: "p", chosen: "a", rejected: "b" };
  const path = file(good, { ...good, chosen: 3 }, 17);
  await expect(readComparisons(path)).rejects.toThrow(InputError);
  await expect(readComparisons(path)).rejects.toThrow(/data\.jsonl:2: chosen: expected a string or a list/);
  expect(await checkData(path)).toMatchObject({
    kept: 1,
    dropped: {
      "malformed row: chosen: expected a string or a list of {role, content}": 1,
      "malformed row: Invalid input: expected object, received number": 1,
    },
    refusal: expect.stringMatching(/data\.jsonl:2: chosen/), // what training says
  });
  const ranks = file({ prompt: "p", completions: ["a", "b"], ranks: [1] });
  await expect(readComparisons(ranks)).rejects.toThrow(/:1: ranks: expected one rank per completion/);
});

test("a malformed row of a public set is dropped", async () => {
  const shp = { history: "h", human_ref_A: "a", human_ref_B: "b", labels: 1 };
  expect((await readComparisons(file(shp, { history: "h" }))).report.dropped).toEqual({
    "malformed row: human_ref_A: Invalid input: expected string, received undefined": 1,
  });
});

test("an unknown format lists the fields seen and the formats accepted", async () => {
  await expect(checkData(file({ input: "a", output: "b" }))).rejects.toThrow(
    /fields input, output\. Accepted:\n {2}rankings:/,
  );
  await expect(checkData(file(1, 2))).rejects.toThrow(/not JSON objects/);
});

test("data of another kind is refused with what is accepted", async () => {
  const unpaired = file({ prompt: "p", completion: "c", label: true });
  await expect(readComparisons(unpaired)).rejects.toThrow(
    /this is unpaired data, which holds no comparisons/,
  );
  await expect(readDemonstrations(file({ text: "t" }))).rejects.toThrow(/this is text data/);
  expect(await checkData(file({ text: "t" }))).toMatchObject({ format: "text", kept: 1 });
});

test("prompts come from any data that has them, each once", async () => {
  expect((await readPrompts(file({ prompt: "Sky?", id: 4 }, { prompt: "Sky?" }))).records).toEqual([
    { prompt: sky, id: "4" },
  ]);
  const pairs = file(
    { prompt: "Sky?", chosen: "a", rejected: "a" },
    { prompt: "Sea?", chosen: "a", rejected: "b" },
  );
  expect((await readPrompts(pairs)).records).toEqual([{ prompt: sky }, { prompt: [user("Sea?")] }]);
  expect((await readPrompts(file({ prompt: "Sky?", id: "s", answer: 4, tests: ["x"] }))).records).toEqual([
    { prompt: sky, id: "s", metadata: { answer: 4, tests: ["x"] } },
  ]);
});

test("reads lists of right and wrong answers, with the other fields of their rows", async () => {
  const path = file({ prompt: "p", chosen: ["right", "also right"], rejected: ["wrong"], subset: "facts" });
  const comparison = { completions: ["right", "also right", "wrong"], ranks: [0, 0, 1] };
  expect((await readComparisons(path)).records).toMatchObject([comparison]);
  expect(await readComparisonsAndMetadata(path)).toMatchObject([
    { ...comparison, metadata: { subset: "facts" } },
  ]);
});
