import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { fetchSmolLm2 } from "../scripts/setup.mjs";
import { pack } from "../src/batch/pack.ts";
import { layOutResponses, responseLogprobs } from "../src/batch/score.ts";
import { readDemonstrations } from "../src/data/readers.ts";
import { logprobsOf } from "../src/math/index.ts";
import { readSafetensors } from "../src/models/files/safetensors.ts";
import type { Model } from "../src/models/model.ts";
import { openModel } from "../src/models/open.ts";
import { loadModel } from "../src/models/pull.ts";
import { generate } from "../src/rollout/generate.ts";
import { noGrad, scope, type Tensor } from "../src/tensor/index.ts";
import { encodeExample, renderChat } from "../src/text/chat.ts";
import { Tokenizer } from "../src/text/tokenizer.ts";
import { expectClose, goldenJson, goldenPath } from "./golden.ts";

// Expected values: test/golden/make_smollm2.py, transformers on the same GGUF file, float32.
const golden = goldenJson("smollm2.json");
const model = await loadModel("smollm2-135m-instruct", { dtype: "float32" });
const tokenizer = model.text;
const starter = fileURLToPath(new URL("../recipes/starter/demonstrations.jsonl", import.meta.url));

describe("SmolLM2-135M-Instruct from GGUF", () => {
  it("has the weights that transformers dequantises", async () => {
    const direct = openModel(await fetchSmolLm2(), { dtype: "float32" });
    for (const [name, { shape, sum, sumSquares, first }] of Object.entries(golden.parameters) as [
      string,
      { shape: number[]; sum: number; sumSquares: number; first: number[] },
    ][])
      for (const opened of [direct, model])
        scope(() => {
          const weight = opened.parameters.get(name) as Tensor;
          expect(weight.shape).toEqual(shape);
          expectClose(weight.reshape(-1).narrow(0, 0, first.length), first, 0);
          const exact = weight.detach().to("float64");
          // Up to 28 million float64 numbers are summed in another order.
          expect(exact.sum().item()).toBeCloseTo(sum, 4);
          expect(exact.square().sum().item() / sumSquares).toBeCloseTo(1, 9);
        });
    direct.dispose();
  });

  it("gives transformers' logits and log-probs", () => {
    const { ids, logprobs } = golden.prompt;
    noGrad(() => {
      const logits = model.logits(model.hidden(pack([ids])));
      const expected = readSafetensors(goldenPath("smollm2.safetensors")).get("logits") as Tensor;
      // 30 layers in float32: single logits of about 20 differ in the fifth digit.
      expectClose(logits.narrow(0, ids.length - 2, 2), expected, 1e-3);
      const next = pack([ids]).ids.narrow(0, 1, ids.length - 1);
      expectClose(logprobsOf(logits.narrow(0, 0, ids.length - 1), next), logprobs, 1e-4);
    });
  });

  it.each([1, 8, 20])(
    "continues 20 prompts of mixed lengths greedily as transformers does, in batches of %i",
    async (batchSize) => {
      const prompts = golden.greedy.map(({ ids }: { ids: number[] }) => ids);
      const maxTokens = Math.max(
        ...golden.greedy.map(({ generated }: { generated: number[] }) => generated.length),
      );
      const responses = await generate(model, prompts, {
        temperature: 0,
        maxTokens,
        batchSize,
        stopIds: [tokenizer.eos],
      });
      responses.forEach(({ tokens }, i) => expect(tokens).toEqual(golden.greedy[i].generated));
    },
    300_000,
  );
});

describe("its tokenizer", () => {
  it("encodes as transformers' and decodes back", () => {
    for (const { text, ids } of golden.texts) {
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids, { keepSpecial: true })).toBe(text);
    }
  });
  it("renders conversations as transformers does", () => {
    for (const { messages, text, withGenerationPrompt } of golden.chat) {
      expect(renderChat(tokenizer, messages)).toBe(text);
      expect(renderChat(tokenizer, messages, { generationPrompt: true })).toBe(withGenerationPrompt);
    }
  });
  it("learns the response and its end, and nothing of the prompt", () => {
    const messages = [{ role: "user" as const, content: "What is the capital of France?" }];
    const { promptTokens: prompt, tokens: response } = encodeExample(tokenizer, messages, "Paris.");
    expect(tokenizer.decode(response, { keepSpecial: true })).toBe("Paris.<|im_end|>");
    // Training sees the template's text of the whole conversation, without the newline after it.
    const whole = renderChat(tokenizer, [...messages, { role: "assistant", content: "Paris." }]);
    expect(tokenizer.decode([...prompt, ...response], { keepSpecial: true })).toBe(whole.trimEnd());
    expect(() => encodeExample(tokenizer, messages, "")).toThrow(/response is empty/);
  });
  it("has a pad that is not the end of a turn", () => {
    expect(tokenizer.id(tokenizer.special("pad_token"))).not.toBe(tokenizer.eos);
    expect(tokenizer.special("pad_token")).not.toBe("");
  });
  it("uses the plain template for a model without one", () => {
    const { chat_template: _, ...config } = tokenizer.files.config;
    const plain = new Tokenizer({ ...tokenizer.files, config });
    expect(renderChat(plain, [{ role: "user", content: "Hi" }], { generationPrompt: true })).toBe(
      "<|user|>Hi<|assistant|>",
    );
    expect(
      renderChat(plain, [
        { role: "user", content: "Hi" },
        { role: "assistant", content: "Yo" },
      ]),
    ).toBe("<|user|>Hi<|assistant|>Yo<|im_end|>");
  });
});

describe("SmolLM2-135M-Instruct in fewer bits", () => {
  // Mean log-prob of the starter's demonstrations, in the type that is fast here. Measured against float32 on 710 tokens
  // of 40 of them: bfloat16 0.003 nats off, 8 bits 0.016, 4 bits 0.14 (so small a model has no room to spare); on the 12
  // here 8 bits 0.017, 4 bits 0.06.
  it("gives nearly the same log-probs, and shares them with its clones", async () => {
    const { records } = await readDemonstrations(starter);
    const rows = records.map(({ prompt, completion }) => encodeExample(tokenizer, prompt, completion));
    const meanOf = (of: Model, count = 12) =>
      noGrad(() =>
        scope(() =>
          responseLogprobs(of, layOutResponses(rows.slice(0, count)))
            .mean()
            .item(),
        ),
      );
    const whole = await loadModel("smollm2-135m-instruct");
    const wanted = meanOf(whole);
    for (const [bits, most] of [
      [8, 0.05],
      [4, 0.3],
    ] as const) {
      const narrow = whole.clone().quantise(bits);
      expect(Math.abs(meanOf(narrow) - wanted)).toBeLessThan(most);
      const shared = narrow.clone({ share: true });
      const copied = narrow.clone();
      expect(copied.parameters.size).toBe(whole.parameters.size);
      const few = meanOf(narrow, 3);
      expect(meanOf(shared, 3)).toBe(few);
      expect(meanOf(copied, 3)).toBe(few);
      for (const made of [shared, copied, narrow]) made.dispose();
    }
    whole.dispose();
  });
});
