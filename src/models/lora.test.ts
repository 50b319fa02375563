import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { expectClose, goldenPath } from "../../test/golden.ts";
import { pack } from "../batch/pack.ts";
import { logprobsOf } from "../math/index.ts";
import { memory, noGrad, ops, Rng, scope, type Tensor } from "../tensor/index.ts";
import { readSafetensors } from "./files/safetensors.ts";
import type { Model } from "./model.ts";
import { openModel } from "./open.ts";

// Adapters are compared with a model whose weights have them merged, whose logits and gradients models.test.ts
// compares with transformers. Two orders of float32 sums differ by 1e-5 at most here.
const tolerance = 1e-4;
const folder = mkdtempSync(join(tmpdir(), "plumbline-lora-"));
afterAll(() => rmSync(folder, { recursive: true }));

const ids = [5, 9, 2, 7, 11, 3];
const open = (name: string): Model => openModel(goldenPath(`models/${name}`), { dtype: "float32" });
const logitsOf = (model: Model): Tensor => noGrad(() => model.logits(model.hidden(pack([ids]))));
const rank = 4;
const alpha = 6;

/** A model with adapters, all of them at random. */
function adapted(base: Model): Model {
  const model = base.clone({ share: true }).addLora({ rank, alpha });
  const generator = new Rng(1);
  noGrad(() => {
    for (const weight of model.learned.values()) ops.normal_(weight, { std: 0.1, generator });
  });
  return model;
}

/** The precision that transformers 5 opens a saved model in: `dtype` of config.json before `torch_dtype`. */
function dtypeOf(path: string): string {
  const { dtype, torch_dtype } = JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
  return dtype ?? torch_dtype;
}

/** Gradients of the mean negative log-likelihood of `ids`, for everything that learns. */
function gradientsOf(model: Model): Map<string, Tensor> {
  model.train();
  const { ids: all } = pack([ids]);
  const logits = model.logits(model.hidden(pack([ids]))).narrow(0, 0, ids.length - 1);
  logprobsOf(logits, all.narrow(0, 1, ids.length - 1))
    .mean()
    .neg()
    .backward();
  return new Map([...model.learned].map(([name, weight]) => [name, weight.grad as Tensor]));
}

describe.each(["llama-tiny", "mistral-tiny", "gpt2-tiny"])("adapters on %s", (name) => {
  const base = open(name);

  it("change nothing before training", () => {
    const model = base.clone({ share: true }).addLora({ rank });
    expectClose(logitsOf(model), logitsOf(base).toArray(), 0);
    model.dispose();
  });

  it("give the logits of W + (alpha / rank) B A, also when merged and when saved", () => {
    const model = adapted(base);
    const before = logitsOf(base).toArray();
    const expected = logitsOf(model).toArray();
    expect(Math.max(...expected.map((x, i) => Math.abs(x - (before[i] as number))))).toBeGreaterThan(0.1);
    model.save(join(folder, name));
    expectClose(logitsOf(openModel(join(folder, name), { dtype: "float32" })), expected, tolerance);
    model.finishTraining();
    expectClose(logitsOf(model), expected, tolerance);
    model.dispose();
    expectClose(logitsOf(base), before, 0);
  });

  it("get the gradients that the chain rule gives from the whole weight's", () => {
    const model = adapted(base);
    const whole = gradientsOf(adapted(base).finishTraining());
    for (const [key, gradient] of gradientsOf(model)) {
      const [, stem, part] = /^base_model\.model\.(.*)\.lora_(A|B)\.weight$/.exec(key) as unknown as string[];
      const trained = (which: string) =>
        model.learned.get(`base_model.model.${stem}.lora_${which}.weight`) as Tensor;
      const full = whole.get(`${stem}.weight`) as Tensor;
      const g = name === "gpt2-tiny" ? full.transpose(0, 1) : full;
      const expected = noGrad(() =>
        (part === "A" ? trained("B").transpose(0, 1).matmul(g) : g.matmul(trained("A").transpose(0, 1))).mul(
          alpha / rank,
        ),
      );
      expectClose(gradient, expected.contiguous(), tolerance);
    }
  });
});

describe.each(["llama-tiny", "gpt2-tiny"])("adapters on %s in bfloat16", (name) => {
  const base = openModel(goldenPath(`models/${name}`), { dtype: "bfloat16" });
  const path = join(folder, `${name}-bfloat16`);
  const model = adapted(base);
  const expected = logitsOf(model).toArray();

  it("are saved merged in float32, which transformers loads", () => {
    model.save(path);
    const saved = readSafetensors(join(path, "model.safetensors"));
    let checked = 0;
    for (const [key, a] of model.learned) {
      const stem = /^base_model\.model\.(.*)\.lora_A\.weight$/.exec(key)?.[1];
      if (!stem) continue;
      const b = model.learned.get(key.replace("lora_A", "lora_B")) as Tensor;
      const delta = b
        .to("float64")
        .matmul(a.to("float64"))
        .mul(alpha / rank);
      const weight = base.parameters.get(`${stem}.weight`) as Tensor;
      const sum = weight.to("float64").add(name === "gpt2-tiny" ? delta.transpose(0, 1) : delta);
      // Values of about 1, rounded to float32 a few times; in bfloat16 they would be off by 1e-3.
      expectClose(saved.get(`${stem}.weight`) as Tensor, sum.contiguous(), 1e-6);
      checked++;
    }
    expect(checked).toBeGreaterThan(5);
    expect(dtypeOf(path)).toBe("float32");
    base.save(`${path}-base`);
    expect(dtypeOf(`${path}-base`)).toBe("bfloat16");
  });

  it("are parted from the weights by opening, so that nothing of them is rounded away", () => {
    const again = openModel(path, { dtype: "bfloat16" });
    expectClose(logitsOf(again), expected, 0);
    for (const [key, weight] of base.parameters)
      expectClose(again.parameters.get(key) as Tensor, weight.toArray(), 0);
    again.dispose();
  });

  it("stay under later ones, in copies, and when the base is freed", () => {
    const before = memory().handles;
    scope(() => {
      const own = base.clone();
      const first = adapted(own).finishTraining();
      own.dispose();
      expectClose(logitsOf(first), expected, 0);
      const second = adapted(first);
      const sum = logitsOf(second).toArray();
      expect(sum).not.toEqual(expected);
      const later = join(folder, `${name}-later`);
      second.save(later);
      for (const copy of [openModel(later, { dtype: "bfloat16" }), second.clone()]) {
        expectClose(logitsOf(copy), sum, 0);
        copy.dispose();
      }
      second.finishTraining();
      first.dispose();
      expectClose(logitsOf(second), sum, 0);
      second.dispose();
    });
    expect(memory().handles).toBeLessThanOrEqual(before);
  });
});

describe("adapters", () => {
  it("train together with a scalar head, load from a checkpoint, and free all tensors", () => {
    const base = open("llama-tiny");
    const scoresOf = (model: Model) => noGrad(() => model.scores(model.hidden(pack([ids])))).toArray();
    const before = memory().handles;
    const fresh = () => base.withScoreHead({ std: 0.02, bias: true, share: true });
    scope(() => {
      const model = fresh().addLora({ rank });
      expect([...model.learned.keys()].slice(-2)).toEqual([
        "base_model.model.score.weight",
        "base_model.model.score.bias",
      ]);
      noGrad(() => {
        for (const weight of model.learned.values()) ops.normal_(weight, { std: 0.1 });
      });
      model.normaliseScores(0.5, 2);
      model.save(join(folder, "head"));
      const again = fresh().addLora({ rank }, { from: join(folder, "head") });
      expect(scoresOf(again)).toEqual(scoresOf(model));
      const other = fresh();
      expect(() => other.addLora({ rank: 8 }, { from: join(folder, "head") })).toThrow(
        /another shape: other lora settings/,
      );
      for (const opened of [model, again, other]) opened.dispose();
    });
    const config = JSON.parse(readFileSync(join(folder, "head", "adapter", "adapter_config.json"), "utf8"));
    expect(config).toMatchObject({
      peft_type: "LORA",
      task_type: "SEQ_CLS",
      r: rank,
      modules_to_save: ["score"],
    });
    expect(memory().handles).toBeLessThanOrEqual(before);
  });

  it("are added to the target layers", () => {
    const base = open("llama-tiny");
    const { learned } = base.clone({ share: true }).addLora({ targets: ["q_proj", "down_proj"] });
    expect([...learned.keys()].every((name) => /q_proj|down_proj/.test(name))).toBe(true);
    expect(learned.size).toBe(4 * base.dimensions.layers);
    expect(() => base.clone({ share: true }).addLora({ targets: ["query"] })).toThrow(/"query" \(q_proj, /);
  });
});
