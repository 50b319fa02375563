import {
  copyFileSync,
  cpSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { expectClose, goldenPath } from "../../test/golden.ts";
import { batchRows, pack, packRows } from "../batch/pack.ts";
import { InputError } from "../data/errors.ts";
import { logprobsOf } from "../math/index.ts";
import { noGrad, type Tensor } from "../tensor/index.ts";
import { readSafetensors } from "./files/safetensors.ts";
import type { Model } from "./model.ts";
import { openModel } from "./open.ts";

// Expected values: test/golden/make_models.py, Hugging Face transformers in float32. Two orders of sums differ by 1e-5
// at most here; the project promises 1e-4.
const tolerance = 1e-4;
const names = ["llama-tiny", "llama3-tiny", "llama-sharded", "mistral-tiny", "gpt2-tiny"];

const open = (name: string): Model => openModel(goldenPath(`models/${name}`), { dtype: "float32" });
const goldenOf = (name: string) => readSafetensors(goldenPath(`models/${name}/golden.safetensors`));
const folder = mkdtempSync(join(tmpdir(), "plumbline-models-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The two sequences of a fixture. */
function idsOf(golden: Map<string, Tensor>): number[][] {
  return [0, 1].map((i) => (golden.get(`ids.${i}`) as Tensor).toArray());
}

describe.each(names)("%s against transformers", (name) => {
  const model = open(name);
  const golden = goldenOf(name);
  const sequences = idsOf(golden);

  it("gives the same logits and log-probs, packed and alone", () => {
    const packed = noGrad(() => model.logits(model.hidden(pack(sequences))));
    const parts = packed.split(sequences.map((ids) => ids.length));
    sequences.forEach((ids, i) => {
      const alone = noGrad(() => model.logits(model.hidden(pack([ids]))));
      const expected = golden.get(`logits.${i}`) as Tensor;
      expectClose(alone, expected, tolerance);
      expectClose(parts[i] as Tensor, expected, tolerance);
      const next = pack([ids]).ids.narrow(0, 1, ids.length - 1);
      expectClose(
        logprobsOf(alone.narrow(0, 0, ids.length - 1), next),
        golden.get(`logprobs.${i}`) as Tensor,
        tolerance,
      );
    });
  });

  it("gives the same where responses share a prompt", () => {
    const [prompt, other] = sequences as [number[], number[]];
    const rows = [other.slice(0, 3), other.slice(2), other.slice(1, 2)].map((tokens) => ({
      promptTokens: prompt,
      tokens,
    }));
    const { batch, packedIndex } = packRows([...rows, { promptTokens: other, tokens: prompt }]);
    const logits = noGrad(() => model.logits(model.hidden(batch)));
    expect(logits.size(0)).toBeLessThan(rows.length * (prompt.length + other.length));
    [...rows, { promptTokens: other, tokens: prompt }].forEach((row, i) => {
      const ids = [...row.promptTokens, ...row.tokens];
      const alone = noGrad(() => model.logits(model.hidden(pack([ids]))));
      ids.forEach((_, t) =>
        expectClose(logits.narrow(0, packedIndex(i, t), 1), alone.narrow(0, t, 1), tolerance),
      );
    });
  });

  it("gives the same where prompts begin alike", () => {
    const [one, other] = sequences as [number[], number[]];
    const system = Array.from({ length: 40 }, (_, i) => one[i % one.length] as number);
    const prompts = [other.slice(0, 2), other.slice(1, 4), other.slice(1, 4), one.slice(1, 2)];
    const rows = prompts.map((prompt, i) => ({
      promptTokens: [...system, ...prompt],
      tokens: other.slice(i, i + 5),
    }));
    const { batch, packedIndex } = packRows(rows);
    expect(batch.prefix).toBe(32);
    const logits = noGrad(() => model.logits(model.hidden(batch)));
    expect(logits.size(0)).toBeLessThanOrEqual(32 + 4 * (8 + 3 + 5));
    rows.forEach((row, i) => {
      const ids = [...row.promptTokens, ...row.tokens];
      const alone = noGrad(() => model.logits(model.hidden(pack([ids]))));
      ids.forEach((_, t) =>
        expectClose(logits.narrow(0, packedIndex(i, t), 1), alone.narrow(0, t, 1), tolerance),
      );
    });
  });

  it("gives the same gradient of every parameter", () => {
    model.train();
    const losses = sequences.map((ids) => {
      const logits = model.logits(model.hidden(pack([ids])));
      const next = pack([ids]).ids.narrow(0, 1, ids.length - 1);
      return logprobsOf(logits.narrow(0, 0, ids.length - 1), next).sum();
    });
    const count = sequences.reduce((sum, ids) => sum + ids.length - 1, 0);
    const loss = (losses[0] as Tensor).add(losses[1] as Tensor).div(-count);
    expectClose(loss, golden.get("loss") as Tensor, tolerance);
    loss.backward();
    for (const [parameter, weight] of model.parameters)
      expectClose(weight.grad, golden.get(`grad.${parameter}`) as Tensor, tolerance);
  });

  it("refuses a sequence beyond its context, and tokens outside its vocabulary", () => {
    const { context, vocab } = model.dimensions;
    const run = (promptTokens: number[], tokens: number[]) => () =>
      noGrad(() => model.hidden(packRows([{ promptTokens, tokens }]).batch));
    const ones = (count: number) => new Array<number>(count).fill(1);
    expect(run(ones(context - 2), ones(2))).not.toThrow();
    expect(run(ones(context - 2), ones(3))).toThrow(
      new InputError(
        `a sequence of ${context + 1} tokens does not fit the model's context of ${context}: shorten the prompt or the response`,
      ),
    );
    expect(run([1], [vocab - 1])).not.toThrow();
    for (const id of [vocab, -1])
      expect(run([1], [id])).toThrow(
        new RegExp(`token id ${id} is outside the model's vocabulary of ${vocab}`),
      );
    expect(run([], [1])).toThrow(/a prompt has no tokens/);
  });

  it("is the same after saving and opening", () => {
    const path = join(folder, name);
    model.save(path);
    const again = openModel(path, { dtype: "float32" });
    expect([...again.parameters.keys()].sort()).toEqual([...model.parameters.keys()].sort());
    for (const [parameter, weight] of again.parameters)
      expectClose(weight, model.parameters.get(parameter) as Tensor, 0);
  });
});

describe("packing", () => {
  const rowsOf = (prompt: number, response: number) =>
    Array.from({ length: 4 }, () => ({
      promptTokens: new Array(prompt).fill(1),
      tokens: new Array(response).fill(2),
    }));
  it.each([
    ["shares a prompt that is long beside its responses", rowsOf(100, 10), [140]],
    [
      "does not share one whose responses would look at each other for nothing",
      rowsOf(1, 255),
      [256, 256, 256, 256],
    ],
  ])("%s", (_, rows, lengths) => {
    expect(packRows(rows).batch.lengths).toEqual(lengths);
    // Batches are counted by the same rule: one that is full to the last token holds them all, and one less does not.
    const tokens = lengths.reduce((a, b) => a + b);
    expect(batchRows(rows, tokens)).toHaveLength(1);
    expect(batchRows(rows, tokens - 1)).toHaveLength(2);
  });

  it("packs what different prompts begin with once, but some of each prompt by itself", () => {
    const row = (count: number, ...rest: number[]) => ({
      promptTokens: [...new Array<number>(count).fill(1), ...rest],
      tokens: [2],
    });
    const prefixOf = (...rows: ReturnType<typeof row>[]) => packRows(rows).batch.prefix;
    expect(prefixOf(row(20, 3), row(20, 4))).toBe(16);
    expect(prefixOf(row(15, 3), row(20, 4))).toBe(0);
    expect(prefixOf(row(16), row(20, 4))).toBe(0);
    expect(prefixOf(row(20, 4), row(17))).toBe(16);
    expect(prefixOf(row(20), row(20))).toBe(0);
    expect(prefixOf(row(20))).toBe(0);
    expect(prefixOf(row(40, 1, 5), row(40, 6), row(33, 7))).toBe(32);
  });
});

describe("llama-tiny-reward against transformers", () => {
  const model = open("llama-tiny-reward");
  const golden = goldenOf("llama-tiny-reward");
  const sequences = idsOf(golden);
  const scoresOf = (m: Model) => m.scores(m.hidden(pack(sequences)));
  const last = [
    (sequences[0]?.length ?? 0) - 1,
    (sequences[0]?.length ?? 0) + (sequences[1]?.length ?? 0) - 1,
  ];

  it("gives the same scores at the last token, and gradients of their sum", () => {
    const scores = scoresOf(model.train());
    last.forEach((place, i) =>
      expectClose(scores.narrow(0, place, 1), golden.get(`score.${i}`) as Tensor, tolerance),
    );
    scores
      .narrow(0, last[0] as number, 1)
      .add(scores.narrow(0, last[1] as number, 1))
      .sum()
      .backward();
    for (const [parameter, weight] of model.parameters)
      expectClose(weight.grad, golden.get(`grad.${parameter}`) as Tensor, tolerance);
  });

  it("keeps its normalisation after saving", () => {
    const own = model.clone();
    const before = noGrad(() => scoresOf(own)).toArray();
    own.normaliseScores(0.5, 2);
    own.save(join(folder, "reward"));
    const again = openModel(join(folder, "reward"), { dtype: "float32" });
    expectClose(
      noGrad(() => scoresOf(again)),
      before.map((score) => (score - 0.5) / 2),
      1e-6,
    );
  });

  it("and its copies have the same normalisation and stage", () => {
    const model = open("llama-tiny").withScoreHead({ std: 0.02, seed: 1 });
    model.stage = "reward";
    model.normaliseScores(0.5, 2);
    for (const copy of [model.clone(), model.clone({ share: true })]) {
      expectClose(
        noGrad(() => scoresOf(copy)),
        noGrad(() => scoresOf(model)).toArray(),
        0,
      );
      expect(copy.stage).toBe("reward");
    }
    model.save(join(folder, "stage"));
    expect(openModel(join(folder, "stage")).stage).toBe("reward");
  });

  it("has a value head of zeros, and a seeded head of the given standard deviation", () => {
    const base = open("llama-tiny");
    expectClose(
      noGrad(() => scoresOf(base.withScoreHead({ std: 0, bias: true }))),
      sequences.flat().map(() => 0),
      0,
    );
    const head = (seed: number) =>
      (base.withScoreHead({ std: 0.02, seed }).parameters.get("score.weight") as Tensor).toArray();
    expect(head(1)).toEqual(head(1));
    expect(head(1)).not.toEqual(head(2));
  });
});

describe("a folder or file that is no model", () => {
  const copy = (name: string, change: (dir: string) => void) => {
    const dir = join(folder, name);
    cpSync(goldenPath("models/llama-tiny"), dir, { recursive: true });
    change(dir);
    return dir;
  };
  const config = (dir: string, change: object) => {
    const path = join(dir, "config.json");
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), ...change }));
  };
  it.each<[string, (dir: string) => void, RegExp]>([
    ["no config", (dir) => rmSync(join(dir, "config.json")), /not a model: it has no config.json/],
    ["no weights", (dir) => rmSync(join(dir, "model.safetensors")), /safetensors/],
    ["not JSON", (dir) => writeFileSync(join(dir, "config.json"), "{"), /config.json: not JSON/],
    ["unknown type", (dir) => config(dir, { model_type: "bert" }), /model_type "bert" is not supported/],
    ["wrong setting", (dir) => config(dir, { hidden_size: "big" }), /hidden_size/],
    ["wrong shape", (dir) => config(dir, { vocab_size: 5 }), /has the shape/],
    ["missing layer", (dir) => config(dir, { num_hidden_layers: 9 }), /has no weight "model.layers/],
    ["cut weights", (dir) => truncateSync(join(dir, "model.safetensors"), 3000), /model.safetensors/],
    ["not safetensors", (dir) => writeFileSync(join(dir, "model.safetensors"), "hello"), /model.safetensors/],
    [
      "wrong shard",
      (dir) => copyFileSync(join(dir, "config.json"), join(dir, "model.safetensors")),
      /model.safetensors/,
    ],
  ])("%s: says so", (name, change, message) => {
    expect(() => openModel(copy(name.replace(" ", "-"), change))).toThrow(message);
  });
  it("a missing folder", () =>
    expect(() => openModel(join(folder, "nowhere"))).toThrow(/no such file or folder/));
});
