import { mkdtempSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { scoreAll } from "../batch/score.ts";
import { encodeAnswer } from "../text/chat.ts";
import { openReward, type RewardInput } from "./open.ts";
import type { Answer } from "./scorer.ts";

const sample = (text: string, metadata = {}): Answer => ({
  prompt: [{ role: "user", content: "?" }],
  text,
  metadata,
});
const samples = [sample("a"), sample("bbb"), sample("")];
const total = async (given: RewardInput, answers = samples) =>
  (await (await openReward(given)).score(answers)).map(({ score }) => score);
const dir = mkdtempSync(join(tmpdir(), "rewards-"));
const file = (name: string, text: string) => {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
};

describe("a reward", () => {
  it("is a function: scores are in the order of the samples, however long each takes", async () => {
    const slow = async (_: unknown, text: string) => {
      await new Promise((resolve) => setTimeout(resolve, 30 - 10 * text.length));
      return text.length;
    };
    expect(await total(slow)).toEqual([1, 3, 0]);
  });

  it("is a model", async () => {
    const judge = tinyModel().withScoreHead({ std: 1 });
    const scores = await total(judge);
    expect(scores).toHaveLength(3);
    expect(new Set(scores).size).toBe(3);
    await expect(openReward(tinyModel())).rejects.toThrow(/no scalar head/);
  });

  it("scores an empty answer by its end-of-turn token, as evaluation and normalisation encode it", async () => {
    const rewardModel = tinyModel().withScoreHead({ std: 1 });
    const { promptTokens, tokens } = encodeAnswer(rewardModel.text, sample("").prompt, "");
    expect(tokens).toEqual([rewardModel.text.eos]);
    expect(await total(rewardModel, [sample("")])).toEqual(scoreAll(rewardModel, [{ promptTokens, tokens }]));
  });

  it("is a module's default export, and takes the row's other fields", async () => {
    const path = file("good.mjs", "export default (prompt, text, { bonus = 0 }) => text.length + bonus;");
    expect(await total(path, [sample("ab"), sample("ab", { bonus: 5 })])).toEqual([2, 7]);
    await expect(openReward(file("none.mjs", "export const reward = 1;"))).rejects.toThrow(/default export/);
    await expect(openReward(file("bad.mjs", "export default ("))).rejects.toThrow(
      /bad\.mjs: cannot be loaded/,
    );
    await expect(openReward("nowhere.ts")).rejects.toThrow(/nowhere\.ts: there is no such file/);
  });

  it("is a weighted sum, with the score of each part", async () => {
    const reward = await openReward([
      { name: "short", length: { max: 2 }, weight: 2 },
      { regex: { pattern: "b" }, weight: -1 },
    ]);
    expect(await reward.score(samples)).toEqual([
      { score: 2, parts: { short: 1, regex: 0 } },
      { score: 2 * 0.5 - 1, parts: { short: 0.5, regex: 1 } },
      { score: 2, parts: { short: 1, regex: 0 } },
    ]);
  });

  it.each([
    ["nothing that scores", { weight: 1 }, /nothing that scores/],
    ["two that score", { length: {}, regex: { pattern: "x" } }, /length and regex/],
    ["an unknown key", { regexp: {} }, /"regexp".*"regex"/],
    ["two of one name", [{ length: {} }, { length: { max: 3 } }], /two parts are called "length"/],
  ])("refuses %s", async (_, given, why) => {
    await expect(openReward(given as RewardInput)).rejects.toThrow(why);
  });

  it.each([
    ["NaN", () => Number.NaN],
    ["infinity", () => Number.POSITIVE_INFINITY],
    ["text", () => "1" as never],
    ["nothing", () => undefined as never],
  ])("refuses a score that is %s, and says for what", async (_, reward) => {
    await expect(total(reward)).rejects.toThrow(/no finite number, for: "a"/);
  });

  it("refuses a score that float32 cannot hold, of a part and of the sum", async () => {
    await expect(total(() => 1e39)).rejects.toThrow(/gave 1e\+39, which is too large for float32.*for: "a"/);
    const file2 = file("large.mjs", "export default () => 3e38;");
    await expect(total({ module: file2, weight: 2 })).rejects.toThrow(/sum" gave 6e\+38, which is too large/);
    expect(await total({ module: file2 })).toContain(3e38);
  });

  it("stops waiting for a function that takes too long", async () => {
    await expect(
      total({
        module: file("never.mjs", "export default () => new Promise(() => {});"),
        timeoutSeconds: 0.2,
      }),
    ).rejects.toThrow(/did not end in 0.2 s/);
  });
});

describe("a command", () => {
  const command = (text: string, timeoutSeconds = 20) => total({ command: text, timeoutSeconds });
  it("reads JSON lines and prints a number for each", async () => {
    const script = file(
      "score.mjs",
      `import { createInterface } from "node:readline";
       for await (const line of createInterface({ input: process.stdin })) console.log(JSON.parse(line).completion.length);`,
    );
    expect(await command(`node ${script}`)).toEqual([1, 3, 0]);
  });
  it.each([
    ["fails", "echo broken >&2; exit 3", /ended with 3: broken/],
    ["prints too little", "echo 1", /3 completions went in and 1 lines came out/],
    ["prints no number", "printf '1\\ntwo\\n3\\n'", /printed "two"/],
    ["is not there", "no-such-command-here", /ended with 127/],
  ])("that %s is an error", async (_, text, why) => {
    await expect(command(text)).rejects.toThrow(why);
  });
  it("that takes too long is killed, with its children", async () => {
    const mark = `sleep 98.${process.pid}`;
    await expect(command(`${mark} & ${mark}`, 0.3)).rejects.toThrow(/did not end in 0.3 s/);
    const { spawnSync } = await import("node:child_process");
    await expect.poll(() => spawnSync("pgrep", ["-f", mark], { encoding: "utf8" }).stdout).toBe("");
  });
});

describe("a server", () => {
  let busy = 0;
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    if (request.url === "/refuses") return response.writeHead(400).end("no");
    if (busy-- > 0) return response.writeHead(503).end("busy");
    const scores = (JSON.parse(text).samples as { completion: string }[]).map(
      ({ completion }) => completion.length,
    );
    response.end(request.url === "/short" ? '{"scores":[1]}' : JSON.stringify({ scores }));
  });
  let address: string;
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => server.close(resolve)));

  it("gets a POST of the samples, and another while it is busy", async () => {
    busy = 2;
    expect(await total(`${address}/`)).toEqual([1, 3, 0]);
  });
  it("that refuses or answers something else is an error", async () => {
    await expect(total(`${address}/refuses`)).rejects.toThrow(/answers 400: no/);
    await expect(total(`${address}/short`)).rejects.toThrow(/1 scores for 3/);
  });
});
