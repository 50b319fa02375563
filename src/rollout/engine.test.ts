import { describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { memory, Rng } from "../tensor/index.ts";
import { Engine, type Request } from "./engine.ts";
import { generate } from "./generate.ts";
import type { Completion } from "./sampler.ts";

const model = tinyModel(1);
const encode = (text: string) => model.text.encode(text);
const greedy = { temperature: 0, stopIds: [7, 20, 33, 50, 81, 120, 200] };
const requests: Request[] = [
  { promptTokens: encode("a longer prompt than the others"), maxTokens: 24, ...greedy },
  { promptTokens: encode("b"), maxTokens: 3, ...greedy },
  { promptTokens: encode("some words"), maxTokens: 16, minTokens: 10, ...greedy },
  { promptTokens: encode("last"), maxTokens: 30, ...greedy, stopIds: [] },
];

const alone = async ({ promptTokens, ...options }: Request) =>
  (await generate(model, [promptTokens], options))[0] as Completion;

describe("an engine", () => {
  it("gives requests that join between steps the same completions as alone", async () => {
    const engine = new Engine(model, { rows: 2, rng: new Rng(0) });
    const completions: Completion[] = [];
    for (const request of requests) {
      completions.push(...engine.add(request));
      for (let step = 0; step < 4; step++) engine.step();
    }
    while (!engine.isIdle) engine.step();
    for (const [i, request] of requests.entries()) {
      const { tokens, text, finishReason } = await alone(request);
      expect(completions[i]).toMatchObject({ tokens, text, finishReason, mask: tokens.map(() => 1) });
    }
    expect(engine.step()).toEqual([]);
    engine.dispose();
  });

  it("adds a token to each completion at every step, and returns those that have ended", () => {
    const engine = new Engine(model, { rows: 8, rng: new Rng(0) });
    const [long] = engine.add({ promptTokens: encode("a"), maxTokens: 5, stopIds: [] }) as [Completion];
    expect(engine.step()).toEqual([long]);
    const [short] = engine.add({ promptTokens: encode("b"), maxTokens: 2, stopIds: [] }) as [Completion];
    expect(engine.step()).toEqual([short]); // it enters: the others wait for the step that reads its prompt
    expect([long.tokens.length, short.tokens.length]).toEqual([1, 1]);
    expect(engine.step()).toEqual([long, short]);
    expect(short.finishReason).toBe("length");
    expect(long.finishReason).toBeNull();
    expect(engine.step()).toEqual([long]);
    engine.dispose();
  });

  it("samples each row by its settings", () => {
    const count = 200;
    const settings = [
      { temperature: 0 },
      { temperature: 1, topK: 1 },
      { temperature: 0.5, topP: 1e-9 },
      { temperature: 1 },
    ];
    const engine = new Engine(model, { rows: count * settings.length, rng: new Rng(3) });
    const promptTokens = encode("x");
    const rows = settings.map((one) =>
      engine.add({ ...one, promptTokens, samples: count, maxTokens: 1, stopIds: [] }),
    );
    engine.step();
    const [likeliest, topK, topP, free] = rows.map((all) => new Set(all.map(({ tokens }) => tokens[0])));
    // All but the free draw leave the likeliest token alone.
    expect(likeliest?.size).toBe(1);
    expect([topK, topP]).toEqual([likeliest, likeliest]);
    expect(free?.size).toBeGreaterThan(20);
    engine.dispose();
  });

  it("refuses requests that do not fit its rows or capacity", () => {
    const engine = new Engine(model, { rows: 2, capacity: 10, rng: new Rng(0) });
    const prompt = (length: number) => new Array<number>(length).fill(65);
    expect(() => engine.add({ promptTokens: prompt(10), maxTokens: 1 })).toThrow(/10 tokens/);
    expect(() => engine.add({ promptTokens: prompt(2), samples: 3, maxTokens: 1 })).toThrow(/3 samples/);
    expect(engine.isIdle).toBe(true);
    engine.dispose();
  });

  it("frees its tensors when it is disposed with requests in progress", () => {
    const before = memory().handles;
    const engine = new Engine(model, { rows: 4, rng: new Rng(0) });
    engine.add({ promptTokens: encode("a"), samples: 3, maxTokens: 9 });
    engine.add({ promptTokens: encode("b"), samples: 3, maxTokens: 9 });
    engine.step();
    engine.step();
    engine.dispose();
    expect(memory().handles).toBe(before);
  });
});
