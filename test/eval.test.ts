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
