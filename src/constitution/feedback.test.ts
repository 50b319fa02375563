import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { pack } from "../batch/pack.ts";
import type { Comparison, Message } from "../data/records.ts";
import { calibration, logprobsOf, mean } from "../math/index.ts";
import { uniform } from "../statistics/random.ts";
import { noGrad, tensor } from "../tensor/index.ts";
import { encodePrompt } from "../text/chat.ts";
import { type Calibration, calibrate } from "./calibrate.ts";
import { toConstitution } from "./constitution.ts";
import { type Feedback, modelFeedback, serverFeedback } from "./feedback.ts";
import { type AnswerPair, type JudgedPair, prefer, toComparison } from "./prefer.ts";
import { finalResponse, revise } from "./revise.ts";

const user = (content: string): Message[] => [{ role: "user", content }];
const constitution = toConstitution({
  name: "c",
  principles: [
    {
      name: "kind",
      weight: 3,
      critique: "What is unkind?",
      revision: "Be kind.",
      preference: "Which is kinder?",
    },
    { name: "brief", critique: "What is long?", revision: "Be brief.", preference: "Which is shorter?" },
  ],
});
const common = { constitution, maxTokens: 8, temperature: 1, seed: 0, think: false };
const pairs: AnswerPair[] = [
  { prompt: user("Hello?"), answers: ["good", "a longer answer"] },
  { prompt: user("And?"), answers: ["a longer answer", "good"] },
];

/** Writes what it was asked, and prefers the shorter answer by 2, but what is shown first by 1. */
function honest(name = "honest"): Feedback & { asked: Message[][] } {
  const asked: Message[][] = [];
  return {
    name,
    asked,
    async write(prompts) {
      asked.push(...prompts.map((prompt) => [...prompt]));
      return prompts.map((prompt) => `${prompt.at(-1)?.content} #${prompt.length}`);
    },
    async logOdds(prompts) {
      asked.push(...prompts.map((prompt) => [...prompt]));
      return prompts.map((prompt) => {
        const [, a = "", b = ""] =
          /Answer \(A\):\n([\s\S]*?)\n\nAnswer \(B\):\n([\s\S]*?)\n\n/.exec(prompt[0]?.content ?? "") ?? [];
        return 1 + 2 * Math.sign(b.length - a.length);
      });
    },
  };
}

describe("preferences by principles", () => {
  it("average both orders, so that a position bias cancels, and the principles by weight", async () => {
    const [one, other] = (await prefer(pairs, { ...common, feedback: honest() })) as [JudgedPair, JudgedPair];
    expect(one.verdicts).toEqual([
      { principle: "kind", shownFirst: 3, shownSecond: 1 },
      { principle: "brief", shownFirst: 3, shownSecond: 1 },
    ]);
    expect([one.logOdds, other.logOdds]).toEqual([2, -2]);
    const byPrinciple: Feedback = {
      ...honest(),
      logOdds: async (prompts) =>
        prompts.map(([one], i) => (i % 2 ? -1 : 1) * (one?.content.includes("kinder") ? 4 : -8)),
    };
    const [mixed] = await prefer(pairs, { ...common, feedback: byPrinciple });
    expect(mixed?.logOdds).toBeCloseTo((3 / 4) * 4 + (1 / 4) * -8, 12);
  });

  it("become comparisons with soft labels, scaled", async () => {
    const judged = await prefer(pairs, { ...common, feedback: honest() });
    const [one, other] = judged.map((one) => toComparison({ ...one, labeler: "ai" }));
    const sure = 1 / (1 + Math.exp(-2));
    expect(one).toEqual({
      prompt: user("Hello?"),
      completions: ["good", "a longer answer"],
      ranks: [0, 1],
      probability: sure,
      labeler: "ai",
      comment: [
        "kind: log-odds of the better one +3.00 shown first, +1.00 shown second",
        "brief: log-odds of the better one +3.00 shown first, +1.00 shown second",
      ].join("\n"),
    });
    expect(other?.ranks).toEqual([1, 0]);
    // What is said of the better one does not depend on where it stands.
    expect(other?.comment).toBe(one?.comment);
    expect(toComparison({ ...(judged[0] as JudgedPair), labeler: "ai" }, 0).probability).toBe(0.5);
  });

  it("can include reasoning before the verdict, which is recorded", async () => {
    const feedback = honest();
    const [one] = await prefer(pairs.slice(0, 1), { ...common, think: true, feedback });
    expect(one?.verdicts[0]?.thoughts).toHaveLength(2);
    expect(feedback.asked.at(-1)?.map(({ role }) => role)).toEqual(["user", "assistant", "user"]);
  });
});

describe("calibration with people", () => {
  const judged = (logOdds: number[]): JudgedPair[] =>
    logOdds.map((odds, i) => ({ prompt: user(String(i)), answers: ["a", "b"], verdicts: [], logOdds: odds }));
  const people = (firstWins: boolean[]): Comparison[] =>
    // The answers stand the other way round in every second one.
    firstWins.map((first, i) => ({
      ...(i % 2
        ? { completions: ["b", "a"], ranks: first ? [1, 0] : [0, 1] }
        : { completions: ["a", "b"], ranks: first ? [0, 1] : [1, 0] }),
      prompt: user(String(i)),
    }));

  it("scales log-odds to the accuracy: logit(3/4) if three of four are right", () => {
    const found = calibrate(
      judged([5, 5, 5, 5, -5, -5, -5, -5]),
      people([true, true, true, false, false, false, false, true]),
    );
    expect(found?.pairs).toBe(8);
    expect(found?.accuracy.value).toBe(0.75);
    // Platt's targets for eight pairs: 9/10 in place of 1. Six are right: 6 · 9/10 + 2 · 1/10 = 5.6 of 8.
    expect(5 * (found?.scale ?? 0)).toBeCloseTo(Math.log(5.6 / 2.4), 6);
    expect(found?.kappa.kappa).toBeCloseTo(0.5, 12);
    expect(found?.ece.raw).toBeGreaterThan(0.2);
  });

  it("gives no confidence to a model at or below chance, and little to one that is right on few pairs", () => {
    expect(calibrate(judged([1, 1]), people([true, false]))?.scale).toBe(0);
    expect(calibrate(judged([1, 1]), people([false, false]))?.scale).toBe(0);
    // Two of two are right: 3/4, Platt's target and the mean of a uniform prior after two.
    const few = calibrate(judged([2, 2]), people([true, true]));
    expect(1 / (1 + Math.exp(-2 * (few?.scale as number)))).toBeCloseTo(3 / 4, 6);
    const many = calibrate(judged(new Array(100).fill(2)), people(new Array(100).fill(true)));
    expect(1 / (1 + Math.exp(-2 * (many?.scale as number)))).toBeCloseTo(101 / 102, 6);
  });

  it("shows what a calibrated model would, and measures scaled log-odds on prompts that the scale was not fitted to", () => {
    const next = uniform(1);
    // Log-odds from −3 to 3 that are right as often as they say; 200 repeats of 40 pairs.
    const found = Array.from({ length: 200 }, () => {
      const odds = Array.from({ length: 40 }, () => 6 * next() - 3);
      const right = odds.map((value) => next() < 1 / (1 + Math.exp(-value)));
      const { scale, ece } = calibrate(judged(odds), people(right)) as Calibration;
      const margins = odds.map((value, i) => scale * (right[i] ? value : -value));
      return { ...ece, fitted: calibration(margins).ece };
    });
    type Errors = (typeof found)[number];
    const average = (measure: (errors: Errors) => number) => mean(found.map(measure));
    // Both are about 0.13; 200 repeats have a standard error of 0.003.
    expect(average(({ raw }) => raw)).toBeGreaterThan(0.1);
    expect(Math.abs(average(({ raw, ifCalibrated }) => raw - ifCalibrated.raw))).toBeLessThan(0.01);
    // The pairs that the scale was fitted to show less error than those that it was not.
    expect(average(({ scaled, fitted }) => (scaled as number) - fitted)).toBeGreaterThan(0.003);
  });

  it("is undefined if people judged other pairs, or tied them", () => {
    expect(
      calibrate(judged([1]), [{ prompt: user("else"), completions: ["a", "b"], ranks: [0, 1] }]),
    ).toBeUndefined();
    expect(
      calibrate(judged([1]), [{ prompt: user("0"), completions: ["a", "b"], ranks: [1, 1] }]),
    ).toBeUndefined();
  });
});

describe("critique and revision", () => {
  const prompts = [{ prompt: user("One?"), id: "1" }, { prompt: user("Two?") }, { prompt: user("Three?") }];
  const run = (some = prompts, place = 0, critic = honest("critic")) =>
    revise(some, { ...common, policy: honest("policy"), critic, rounds: 2 }, place);

  it("asks for a critique of the last revision, and for a revision after the critique", async () => {
    const critic = honest("critic");
    const [one] = await run(prompts.slice(0, 1), 0, critic);
    expect(one).toMatchObject({ id: "1", response: "One? #1" });
    expect(one?.rounds).toHaveLength(2);
    expect(critic.asked.map((conversation) => conversation.map(({ role }) => role))).toEqual([
      ["user", "assistant", "user"],
      ["user", "assistant", "user", "assistant", "user"],
      ["user", "assistant", "user"],
      ["user", "assistant", "user", "assistant", "user"],
    ]);
    expect(critic.asked[0]?.[1]?.content).toBe("One? #1");
    expect(critic.asked[2]?.[1]?.content).toBe(one?.rounds[0]?.revision);
  });

  it("draws the same principles however many are revised at once", async () => {
    const drawn = (all: Awaited<ReturnType<typeof run>>) =>
      all.map(({ rounds }) => rounds.map(({ principle }) => principle));
    const whole = drawn(await run());
    const parts = [...drawn(await run(prompts.slice(0, 1))), ...drawn(await run(prompts.slice(1), 1))];
    expect(parts).toEqual(whole);
  });

  it("uses the last revision that is not empty", () => {
    const round = (revision: string) => ({ principle: "p", critique: "c", revision });
    expect(finalResponse({ prompt: user("?"), response: "r", rounds: [round("a"), round("")] })).toBe("a");
    expect(finalResponse({ prompt: user("?"), response: "r", rounds: [round("")] })).toBe("r");
  });
});

describe("a model's log-odds", () => {
  it("are those of the letters that follow the start of its answer", async () => {
    const model = tinyModel(3, { max_position_embeddings: 1024 });
    const prompts = [user("A or B?"), user("Which?")];
    const odds = await modelFeedback(model, "tiny").logOdds(prompts, "It is (");
    prompts.forEach((prompt, i) => {
      const ids = [...encodePrompt(model.text, prompt), ...model.text.encode("It is (")];
      const expected = noGrad(() => {
        const hidden = model.hidden(pack([ids])).narrow(0, ids.length - 1, 1);
        const of = (letter: string) =>
          logprobsOf(model.logits(hidden), tensor(model.text.encode(letter), { dtype: "int64" })).item();
        return of("A") - of("B");
      });
      expect(odds[i]).toBeCloseTo(expected, 4);
    });
    await expect(
      modelFeedback(tinyModel(), "tiny").logOdds([user("long ".repeat(100))], "("),
    ).rejects.toThrow(/question 1 has \d+ tokens/);
  });

  it("come from a server's most likely tokens", async () => {
    let bare = false;
    const server = createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request) text += chunk;
      const { messages, top_logprobs } = JSON.parse(text);
      const tops = [
        { token: " A", logprob: -0.1 },
        { token: "x", logprob: -3 },
        ...(messages[0].content === "both" ? [{ token: "B", logprob: -2.5 }] : []),
      ];
      const logprobs = { content: [{ top_logprobs: tops.slice(0, top_logprobs) }] };
      response.end(
        JSON.stringify({ choices: [{ message: { content: "A" }, ...(bare ? {} : { logprobs }) }] }),
      );
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
    const feedback = serverFeedback({ url, model: "m", key: undefined });
    const odds = await feedback.logOdds([user("both"), user("one")], "(");
    // A letter that is not among them is as likely as the last of them at most.
    expect(odds[0]).toBeCloseTo(2.4, 9);
    expect(odds[1]).toBeCloseTo(2.9, 9);
    bare = true;
    await expect(feedback.logOdds([user("both")], "(")).rejects.toThrow(/gives no log-probabilities/);
    server.close();
  });

  it("are an error if a server answers most questions with neither letter", async () => {
    const server = createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request) text += chunk;
      const token = JSON.parse(text).messages[0].content;
      const logprobs = { content: [{ top_logprobs: [{ token, logprob: -0.1 }] }] };
      response.end(JSON.stringify({ choices: [{ logprobs }] }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
    const feedback = serverFeedback({ url, model: "m", key: undefined });
    // One of two: the answer tells nothing, and counts as undecided.
    expect(await feedback.logOdds([user("A"), user("Sure")], "(")).toEqual([0, 0]);
    await expect(feedback.logOdds([user("A"), user("Sure"), user("Well")], "(")).rejects.toThrow(
      /m at .*chat\/completions answers 2 of 3 questions with neither A nor B, but with "Sure": .*another judge/,
    );
    server.close();
  });
});
