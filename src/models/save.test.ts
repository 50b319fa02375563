import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { encodeAnswer } from "../text/chat.ts";
import { readTokenizer, Tokenizer } from "../text/tokenizer.ts";

const folder = mkdtempSync(join(tmpdir(), "plumbline-save-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Saves a tiny model with this tokenizer_config.json, and with the special tokens that `isKept` keeps. */
function save(name: string, head: "lm" | "score", config: object, isKept = (_: string) => true) {
  const base = tinyModel(0);
  const { files } = base.text;
  const added_tokens = (files.tokenizer.added_tokens as { content: string }[]).filter(({ content }) =>
    isKept(content),
  );
  const tokenizer = { ...files.tokenizer, added_tokens };
  base.tokenizer = new Tokenizer({ ...files, tokenizer, config: { ...files.config, ...config } });
  const model = head === "lm" ? base.clone() : base.withScoreHead({ std: 0.02 });
  const path = join(folder, name);
  model.save(path);
  base.dispose();
  model.dispose();
  const read = (file: string) => JSON.parse(readFileSync(join(path, file), "utf8"));
  return {
    config: read("config.json"),
    tokenizerConfig: read("tokenizer_config.json"),
    tokenizer: readTokenizer(path) as Tokenizer,
  };
}

/** Index of the token whose score `…ForSequenceClassification` of transformers 5 returns. */
const pooled = (ids: readonly number[], pad: number | null) =>
  pad === null ? ids.length - 1 : ids.findLastIndex((id) => id !== pad);

const endToken = { pad_token: "<|im_end|>" };

describe("a saved reward model is scored by transformers at the last token of the answer", () => {
  it.each<[string, object]>([
    ["where the padding token is the end token", endToken],
    ["where there is no padding token", { pad_token: null }],
    ["where the padding token is another", {}],
  ])("%s, alone and in a batch", (name, change) => {
    const { config, tokenizerConfig, tokenizer } = save(name, "score", change);
    const pad: number = config.pad_token_id;
    // What transformers' tokenizer pads with must be what its model takes for padding.
    expect(tokenizer.id(tokenizerConfig.pad_token)).toBe(pad);
    expect(pad).toBeLessThan(config.vocab_size);
    for (const text of ["", "yes", "A long answer.\n"]) {
      const { promptTokens, tokens } = encodeAnswer(tokenizer, [{ role: "user", content: "?" }], text);
      const ids = [...promptTokens, ...tokens];
      const padding = new Array<number>(5).fill(pad);
      expect(pooled(ids, pad)).toBe(ids.length - 1);
      expect(pooled([...ids, ...padding], pad)).toBe(ids.length - 1);
      expect(pooled([...padding, ...ids], pad)).toBe(padding.length + ids.length - 1);
    }
  });

  it("one at a time where the vocabulary has no special token but the end token, as GPT-2's", () => {
    const { config, tokenizerConfig } = save("none", "score", endToken, (text) => text === "<|im_end|>");
    expect(config.pad_token_id).toBeNull();
    expect(tokenizerConfig.pad_token).toBeNull();
  });

  it("a language model's tokenizer is saved as it is", () => {
    const { config, tokenizerConfig, tokenizer } = save("lm", "lm", endToken);
    expect(tokenizerConfig.pad_token).toBe("<|im_end|>");
    expect(config.pad_token_id).toBe(tokenizer.eos);
  });
});
