import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { jsonLines, plumbline, succeed } from "./cli.ts";
import { tinyModel } from "./tiny.ts";

let dir: string;
const at = (name: string) => join(dir, name);
const rows = [
  {
    key: 1,
    prompt: "Write without commas, in quotation marks.",
    instruction_id_list: ["punctuation:no_comma", "startend:quotation"],
    kwargs: [{}, {}],
  },
  {
    key: 2,
    prompt: "Write less than 3 words.",
    instruction_id_list: ["length_constraints:number_words"],
    kwargs: [{ num_words: 3, relation: "less than" }],
  },
];
const write = (name: string, responses: readonly (string | undefined)[]) =>
  writeFileSync(
    at(name),
    rows.map((row, i) => `${JSON.stringify({ ...row, response: responses[i] })}\n`).join(""),
  );

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "eval-"));
  tinyModel().save(at("tiny"));
  tinyModel(2).save(at("other"));
  writeFileSync(at("longer.mjs"), "export default (prompt, completion) => completion.length;\n");
  writeFileSync(
    at("principles.yaml"),
    "name: test\nprinciples:\n  - { name: helpful, preference: Which answer helps more? }\n  - { name: short, preference: Which answer is shorter? }\n",
  );
  write("prompts.jsonl", []);
});
afterAll(() => rmSync(dir, { recursive: true }));

const ifeval = (...args: string[]) => ["eval", "--benchmark", "ifeval", ...args];

describe("plumbline eval --benchmark ifeval", () => {
  it("checks answers made elsewhere, strictly and loosely", async () => {
    write("answers.jsonl", ['"All of it"', "Here it is:\ntwo words"]);
    const out = JSON.parse(await succeed(ifeval("--responses", at("answers.jsonl"), "--json")));
    expect(out).toMatchObject({
      strict: { prompt: 0.5, instruction: 2 / 3 },
      loose: { prompt: 1, instruction: 1 },
      rows: [
        { key: 1, strict: [true, true], loose: [true, true] },
        { key: 2, strict: [false], loose: [true] },
      ],
    });
    const text = await succeed(ifeval("--responses", at("answers.jsonl"), "--out", at("out.jsonl")));
    expect(text).toMatch(/strict +0\.500 \[too few to say\] +0\.667 \[too few to say\]/);
    expect(jsonLines(readFileSync(at("out.jsonl"), "utf8"))[0]).toMatchObject({
      response: '"All of it"',
      instructions: ["punctuation:no_comma", "startend:quotation"],
    });
  });

  it("lets a model answer", async () => {
    const args = ["--model", at("tiny"), "--data", at("prompts.jsonl"), "--max-tokens", "4", "--json"];
    const out = JSON.parse(await succeed(ifeval(...args)));
    expect(out.rows.map(({ key }: { key: number }) => key)).toEqual([1, 2]);
    expect(out.rows[0].strict[1]).toBe(false);
  });

  it("says what is wrong, where", async () => {
    const fails = async (content: string, ...more: string[]) => {
      writeFileSync(at("bad.jsonl"), content);
      const { code, stderr } = await plumbline(ifeval("--responses", at("bad.jsonl"), ...more));
      expect(code).toBe(1);
      return stderr;
    };
    write("unanswered.jsonl", ["x"]);
    const [first, second] = readFileSync(at("unanswered.jsonl"), "utf8").split("\n") as [string, string];
    expect(await fails(`${first}\n${second}\n`)).toMatch(/bad\.jsonl: the prompt with key 2 has no response/);
    expect(await fails(`${first}\n${first}\n`)).toMatch(/two prompts have the key 1/);
    expect(await fails(`${first}\n{"key": 3`)).toMatch(/bad\.jsonl:2: /);
    expect(await fails(`${first}\n{"key": 3}\n`)).toMatch(/bad\.jsonl:2: prompt: .*A line has key, prompt/);
    expect(await fails("\n")).toMatch(/the file is empty/);
    expect(await fails(first.replace("no_comma", "no_coma"))).toMatch(
      /bad\.jsonl:1: unknown instruction "punctuation:no_coma" \(did you mean "punctuation:no_comma"\?\)/,
    );
    expect(await fails(first, "--model", at("tiny"))).toMatch(/give one of --model and --responses/);
    const missing = await plumbline(ifeval("--responses", at("missing.jsonl")));
    expect(missing.code).toBe(1);
    expect(missing.stderr).toMatch(/missing\.jsonl: .*no such file/);
  });
});

describe("plumbline eval of policies", () => {
  const policies = () => [
    "eval",
    at("tiny"),
    at("other"),
    "--data",
    at("prompts.jsonl"),
    "--max-tokens",
    "6",
  ];

  it("compares answers by a reward", async () => {
    const args = [...policies(), "--reward", at("longer.mjs"), "--samples", "3", "--out", at("judged.jsonl")];
    const report = JSON.parse(await succeed([...args, "--json"]));
    expect(report).toMatchObject({ baseline: at("tiny"), prompts: 2, matches: 6, criteria: {} });
    const rows = jsonLines(readFileSync(at("judged.jsonl"), "utf8"));
    expect(rows).toHaveLength(6);
    for (const { completions, policies, outcome } of rows) {
      expect(policies).toEqual([at("tiny"), at("other")]);
      expect(outcome).toBe((Math.sign(completions[0].length - completions[1].length) + 1) / 2);
    }
    const wins = rows.map(({ outcome }) => 1 - outcome).reduce((a: number, b: number) => a + b, 0) / 6;
    expect(report.policies[1].winRate.value).toBeCloseTo(wins, 12);
    const text = await succeed(args);
    expect(text).toMatch(/other +0\.\d+ \[too few to say\]/);
    expect(text).toMatch(/other: too few prompts to say/);
  });

  it("measures KL to a reference and the loss on demonstrations", async () => {
    writeFileSync(
      at("held-out.jsonl"),
      '{"prompt": "a", "completion": "yes yes"}\n{"prompt": "b", "completion": "yes"}\n',
    );
    const more = ["--reference", at("tiny"), "--demonstrations", at("held-out.jsonl"), "--samples", "8"];
    const args = [...policies(), "--reward", at("longer.mjs"), ...more];
    const [same, other] = JSON.parse(await succeed([...args, "--json"])).policies;
    expect(same.kl.value).toBe(0);
    expect(other.kl.value).toBeGreaterThan(0.05);
    expect(same.loss.tax).toBeUndefined();
    expect(other.loss.tax.value).toBeCloseTo(other.loss.value.value - same.loss.value.value, 10);
    // Untrained models: about log 261 a token.
    expect(same.loss.value.value).toBeCloseTo(Math.log(261), 0);
    expect(await succeed(args)).toMatch(/finished +KL, nats +loss +tax/);
  });

  it("compares answers by a model that reads both, by principle and in both orders", async () => {
    const judge = ["--judge", at("tiny"), "--constitution", at("principles.yaml")];
    const report = JSON.parse(await succeed([...policies(), ...judge, "--json"]));
    expect(Object.keys(report.criteria)).toEqual(["helpful", "short"]);
    expect(report.consistency).toBeGreaterThanOrEqual(0);
    expect(report.policies[1].winRate.value).toBeGreaterThan(0);
    expect(await succeed([...policies(), ...judge])).toMatch(
      /says the same in both orders of the answers on \d+ %/,
    );
  });

  it("says what is wrong before anything is sampled", async () => {
    const fails = async (...args: string[]) => {
      const { code, stderr, stdout } = await plumbline(args);
      expect([code, stdout]).toEqual([1, ""]);
      return stderr;
    };
    expect(await fails("eval", at("tiny"))).toMatch(/name two policies or more/);
    expect(await fails("eval", at("tiny"), at("tiny"), "--data", at("prompts.jsonl"))).toMatch(/named twice/);
    expect(await fails("eval", at("tiny"), at("other"))).toMatch(/--data/);
    expect(await fails(...policies())).toMatch(/one judge: --reward, or --judge with --constitution/);
    expect(await fails(...policies(), "--judge", at("tiny"))).toMatch(/needs principles/);
    expect(await fails(...policies(), "--reward", at("tiny"))).toMatch(/no scalar head/);
    expect(await fails("eval", at("tiny"), "--benchmark", "ifeval")).toMatch(/name it by --model/);
  });
});

describe("plumbline eval of a reward", () => {
  it("counts how often the highest score is of a right answer, by category", async () => {
    const rows = [
      { prompt: "a", chosen: ["long answer"], rejected: ["x", "y", "z"], subset: "facts" },
      { prompt: "b", chosen: ["no"], rejected: ["longer", "y", "z"], subset: "facts" },
      { prompt: "c", chosen: ["abc"], rejected: ["xyz", "1", "2"], subset: "ties" },
    ];
    writeFileSync(at("best-of-4.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const args = ["eval", "--reward", at("longer.mjs"), "--data", at("best-of-4.jsonl")];
    const accuracy = JSON.parse(await succeed([...args, "--json", "--out", at("scores.jsonl")]));
    expect(accuracy.categories).toMatchObject([
      { category: "facts", comparisons: 2, accuracy: { value: 0.5 } },
      { category: "ties", comparisons: 1, accuracy: { value: 0.5 } },
    ]);
    expect(jsonLines(readFileSync(at("scores.jsonl"), "utf8"))[0].scores).toEqual([11, 1, 1, 1]);
    expect(await succeed(args)).toMatch(/facts +2 +0\.500.*\n.*ties.*\n *all +3 +0\.500/);
    const { stderr } = await plumbline([...args, "--category", "section"]);
    expect(stderr).toMatch(/no row has the field "section"/);
  });
});
