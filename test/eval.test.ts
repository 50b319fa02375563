import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
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
    const args = [...policies(), "--reward", at("longer.mjs"), "--samples", "3", "--out", at("judged")];
    const report = JSON.parse(await succeed([...args, "--json"]));
    expect(report).toMatchObject({ baseline: at("tiny"), prompts: 2, matches: 6, criteria: {} });
    expect(JSON.parse(readFileSync(at("judged/report.json"), "utf8"))).toEqual(report);
    const rows = jsonLines(readFileSync(at("judged/pairs.jsonl"), "utf8"));
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
    const page = readFileSync(at("judged/report.html"), "utf8");
    expect(page).toContain("too few prompts to say");
    expect(page).toContain("Write without commas, in quotation marks.");
    expect(page.match(/<h4>/g)).toHaveLength(2 * 2);
    expect(page).not.toContain("<script");
  });

  it("compares by the criterion that prompts name", async () => {
    const named = ["helpful", "harmless"].map((criterion) => ({ prompt: `Say ${criterion}.`, criterion }));
    writeFileSync(at("named.jsonl"), named.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const args = ["eval", at("tiny"), at("other"), "--data", at("named.jsonl"), "--max-tokens", "6"];
    const out = ["--reward", at("longer.mjs"), "--out", at("by-criterion"), "--json"];
    const report = JSON.parse(await succeed([...args, ...out]));
    const rows = jsonLines(readFileSync(at("by-criterion/pairs.jsonl"), "utf8"));
    for (const [i, { criterion }] of named.entries())
      expect(report.criteria[criterion][at("other")].value).toBe(1 - rows[i].outcome);
  });

  it("uses the answers in --out again, for other judges and more policies, and only those that fit", async () => {
    const out = ["--reward", at("longer.mjs"), "--out", at("again")];
    await succeed([...policies(), ...out]);
    const answers = () => readFileSync(at(`again/answers/${encodeURIComponent(at("tiny"))}.json`), "utf8");
    const before = answers();
    writeFileSync(at("shorter.mjs"), "export default (prompt, completion) => -completion.length;\n");
    tinyModel(3).save(at("third"));
    const args = [...policies(), at("third"), "--reward", at("shorter.mjs"), "--out", at("again")];
    const { code, stderr, stdout } = await plumbline([...args, "--json"]);
    expect([code, JSON.parse(stdout).policies.length]).toEqual([0, 3]);
    expect(stderr).toMatch(/third answers 2 prompts/);
    expect(stderr).not.toMatch(/(tiny|other) answers/);
    expect(answers()).toBe(before);

    const fails = async (...more: string[]) => {
      const { code, stderr } = await plumbline([...policies(), ...out, ...more]);
      expect(code).toBe(1);
      return stderr;
    };
    expect(await fails("--seed", "1")).toMatch(
      /again: its answers were made with seed 0, now 1: name another/,
    );
    expect(await fails("--limit", "1")).toMatch(
      /again: its answers were made to other prompts: name another/,
    );
    writeFileSync(at("file"), "");
    expect(await fails("--out", at("file"))).toMatch(/file.*the folder cannot be made/);
    expect(answers()).toBe(before);
    expect(readFileSync(at("again/report.json"), "utf8")).toBe(`${stdout.trim()}\n`);
  });

  it("counts refusals of harmless prompts and answers to harmful ones", async () => {
    const rows = [true, false, undefined].map((harmful, i) => ({ prompt: `p${i}`, harmful }));
    const file = (values: object[]) =>
      writeFileSync(at("harm.jsonl"), values.map((row) => `${JSON.stringify(row)}\n`).join(""));
    file(rows);
    const args = [...policies(), "--data", at("harm.jsonl"), "--reward", at("longer.mjs")];
    const report = JSON.parse(await succeed([...args, "--json"]));
    // Untrained models write no sentence that refuses.
    for (const { refusals } of report.policies)
      expect(refusals).toMatchObject({ ofHarmless: { value: 0 }, answersToHarmful: { value: 1 } });
    expect(await succeed(args)).toMatch(/refuses harmless +answers harmful/);
    file([...rows, { prompt: "p3", harmful: "yes" }]);
    expect((await plumbline(args)).stderr).toMatch(/prompt 4: harmful is "yes"; it should be true or false/);
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
    // Untrained models: about log 261 a token, whoever writes.
    for (const { perplexity } of [same, other])
      expect(Math.log(perplexity.value)).toBeCloseTo(Math.log(261), 0);
    expect(same.loss.tax).toBeUndefined();
    expect(other.loss.tax.value).toBeCloseTo(other.loss.value.value - same.loss.value.value, 10);
    // Untrained models: about log 261 a token.
    expect(same.loss.value.value).toBeCloseTo(Math.log(261), 0);
    expect(await succeed(args)).toMatch(/finished +KL, nats +perplexity +loss +tax/);
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
    expect(await fails(...policies())).toMatch(
      /one judge: --reward, --judge with --constitution, or --labels/,
    );
    expect(await fails(...policies(), "--judge", at("tiny"))).toMatch(/needs principles/);
    expect(await fails(...policies(), "--reward", at("tiny"))).toMatch(/no scalar head/);
    expect(await fails("eval", at("tiny"), "--benchmark", "ifeval")).toMatch(/name it by --model/);
    expect(await fails(...policies(), "--labels", at("no.db"))).toMatch(/--labels needs --out FOLDER/);
    expect(await fails(...policies(), "--gold", "x")).toMatch(/--gold measures what --best-of chooses/);
    const one = ["eval", at("tiny"), "--data", at("prompts.jsonl"), "--best-of", "2"];
    expect(await fails(...one)).toMatch(/--best-of needs --reward/);
    expect(await fails(...one, "--reward", at("longer.mjs"), "--judge", "m")).toMatch(
      /--best-of does not take --judge/,
    );
    expect(await fails(...policies(), "--best-of", "2")).toMatch(/--best-of is of one policy/);
    expect(await fails(...one, "--reward", at("longer.mjs"), "--temperature", "0")).toMatch(/above 0/);
  });

  it("says in one message what is wrong with a judge on a server, and writes no result", async () => {
    const tops = (token: string) => [{ token, logprob: -0.1 }];
    const saying = (token: string) => ({
      choices: [{ logprobs: { content: [{ top_logprobs: tops(token) }] } }],
    });
    let replies: { status: number; body: unknown }[] = [];
    const server = createServer((_, response) => {
      const { status, body } = replies.length > 1 ? (replies.shift() as never) : (replies[0] as never);
      response.writeHead(status).end(JSON.stringify(body));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
    const judge = ["--judge", "m", "--endpoint", url, "--constitution", at("principles.yaml")];
    const fails = async (...all: typeof replies) => {
      replies = all;
      const { code, stdout, stderr } = await plumbline([...policies(), ...judge, "--out", at("failed")]);
      expect([code, stdout]).toEqual([1, ""]);
      return stderr.trim().split("\n");
    };
    // Before anything is sampled.
    expect(await fails({ status: 200, body: saying("Sure") })).toEqual([
      expect.stringMatching(/^error: m at .* answers 1 of 1 questions with neither A nor B, but with "Sure"/),
    ]);
    expect(await fails({ status: 200, body: { choices: [{ message: { content: "A" } }] } })).toEqual([
      expect.stringMatching(/^error: .*gives no log-probabilities/),
    ]);
    expect(existsSync(at("failed"))).toBe(false);
    // While it judges: the answers stay, for the next try.
    const busy = await fails({ status: 200, body: saying("A") }, { status: 429, body: "slow down" });
    expect(busy.filter((line) => /error|^ +at /.test(line))).toEqual([
      expect.stringMatching(/^error: .*answers 429: "slow down"/),
    ]);
    expect(readdirSync(at("failed")).sort()).toEqual(["answers", "evaluation.json"]);
    server.close();
  }, 30_000);

  it("shows what the best of n brings for every n, by the proxy and by gold", async () => {
    writeFileSync(at("vowels.mjs"), "export default (_, text) => text.replace(/[^aeiou]/g, '').length;\n");
    const args = ["eval", at("tiny"), "--data", at("prompts.jsonl"), "--max-tokens", "6", "--best-of", "5"];
    const rewards = ["--reward", at("longer.mjs"), "--gold", at("vowels.mjs"), "--out", at("best")];
    const { curve } = JSON.parse(await succeed([...args, ...rewards, "--json"]));
    const samples = jsonLines(readFileSync(at("best/samples.jsonl"), "utf8"));
    expect(samples).toHaveLength(10);
    for (const { completion, proxy } of samples) expect(proxy).toBe(completion.length);
    expect(curve.map(({ n }: { n: number }) => n)).toEqual([1, 2, 3, 4, 5]);
    const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    expect(curve[0].proxy.value).toBeCloseTo(mean(samples.map(({ proxy }) => proxy)), 12);
    expect(curve[0].gold.value).toBeCloseTo(mean(samples.map(({ gold }) => gold)), 12);
    const longest = [0, 5].map((from) =>
      Math.max(...samples.slice(from, from + 5).map(({ proxy }) => proxy)),
    );
    expect(curve[4].proxy.value).toBeCloseTo(mean(longest), 12);
    const text = await succeed([...args, ...rewards]);
    expect(text).toMatch(
      /^n +KL ≤, nats +proxy +gold +gold over one sample\n1 +0\.00.*\n2.*\n4.*\n5 +0\.81 /,
    );
    expect(text).toMatch(/an upper bound of the KL/);
    expect(readFileSync(at("best/report.html"), "utf8")).toMatch(/best of 5.*proxy \d/s);
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

  it("scores RewardBench 2's Ties by its rule, on questions that its ids pair", async () => {
    const rows = [
      { id: "ref:1", prompt: "a", chosen: ["1234"], rejected: ["1"], subset: "Ties" },
      { id: "tied:1", prompt: "b", chosen: ["1234", "12345"], rejected: ["1"], subset: "Ties" },
    ];
    writeFileSync(at("ties.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const args = ["eval", "--reward", at("longer.mjs"), "--data", at("ties.jsonl")];
    // Right answers are 3 above the wrong ones, and 1 apart.
    const score = 1 + 0.01 * Math.tanh(3 - 1);
    const { ties, byCategory } = JSON.parse(await succeed([...args, "--json"]));
    expect(ties).toBeCloseTo(score, 12);
    expect(byCategory).toBe(ties);
    expect(await succeed(args)).toContain(`Ties by RewardBench 2's rule: ${score.toFixed(3)}`);
  });
});
