import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { expectClose, goldenPath } from "../../../test/golden.ts";
import { writeGguf } from "../../../test/write-gguf.ts";
import { pack } from "../../batch/pack.ts";
import { noGrad, scope, type Tensor, tensor } from "../../tensor/index.ts";
import { openModel } from "../open.ts";
import { readGguf } from "./gguf.ts";
import { readSafetensors } from "./safetensors.ts";

const folder = mkdtempSync(join(tmpdir(), "plumbline-gguf-model-"));
afterAll(() => rmSync(folder, { recursive: true }));

const heads: Record<string, number> = { q: 4, k: 2 };

/** llama.cpp's name of a weight of the fixture, and the weight with rotary halves interleaved as llama.cpp has them. */
function toLlamaCpp(name: string, weight: Tensor): [string, Tensor] {
  const projection = /([qk])_proj/.exec(name)?.[1];
  const count = heads[projection ?? ""];
  const [rows = 0, columns = 0] = weight.shape;
  const stored = count
    ? weight
        .reshape(count, 2, rows / count / 2, columns)
        .transpose(1, 2)
        .reshape(rows, columns)
    : weight;
  const to = name
    .replace("model.embed_tokens", "token_embd")
    .replace("model.norm", "output_norm")
    .replace("lm_head", "output")
    .replace("model.layers", "blk")
    .replace("input_layernorm", "attn_norm")
    .replace("post_attention_layernorm", "ffn_norm")
    .replace("self_attn.o_proj", "attn_output")
    .replace(/self_attn\.([qkv])_proj/, "attn_$1")
    .replace(/mlp\.(gate|up|down)_proj/, "ffn_$1");
  return [to, stored.contiguous()];
}

/** Writes the fixture llama-tiny as GGUF. */
function write(name: string, metadata: Record<string, string | number>): string {
  const path = join(folder, `${name}.gguf`);
  const settings = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 32,
    "llama.feed_forward_length": 64,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1.00000001e-5,
    "llama.context_length": 128,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.tokens": Array.from({ length: 97 }, (_, i) => `token ${i}`),
    "tokenizer.ggml.merges": [],
    "tokenizer.ggml.eos_token_id": 2,
    ...metadata,
  };
  scope(() => {
    const weights = readSafetensors(goldenPath("models/llama-tiny/model.safetensors"));
    writeGguf(path, settings, new Map([...weights].map(([key, weight]) => toLlamaCpp(key, weight))));
  });
  return path;
}

describe("a GGUF file's rotary scaling", () => {
  // With linear scaling by 4, position 4 t has the angles that position t has without, and transformers' logits.
  it.each<[string, Record<string, string | number>, number]>([
    ["none", {}, 1],
    ["none by name", { "llama.rope.scaling.type": "none", "llama.rope.scaling.factor": 4 }, 1],
    ["linear", { "llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4 }, 4],
    ["linear in old files", { "llama.rope.scale_linear": 4 }, 4],
  ])("%s", (name, metadata, stride) => {
    const model = openModel(write(name, metadata), { dtype: "float32" });
    scope(() => {
      const golden = readSafetensors(goldenPath("models/llama-tiny/golden.safetensors"));
      const ids = (golden.get("ids.0") as Tensor).toArray();
      const positions = tensor(
        ids.map((_, t) => stride * t),
        { dtype: "int64" },
      );
      const logits = noGrad(() => model.logits(model.hidden({ ...pack([ids]), positions })));
      // Another order of float32 sums than transformers': 1e-5 here, and 1e-4 is what the project promises.
      expectClose(logits, golden.get("logits.0") as Tensor, 1e-4);
    });
    model.dispose();
  });

  it.each<[string, Record<string, string | number>, RegExp]>([
    [
      "yarn",
      { "llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4 },
      /scaling\.type "yarn" is not/,
    ],
    ["no factor", { "llama.rope.scaling.type": "linear" }, /with a factor/],
    ["a part of a head", { "llama.rope.dimension_count": 4 }, /4 of a head's 8 dimensions are rotated/],
  ])("that is not supported is refused: %s", (name, metadata, message) => {
    expect(() => openModel(write(name, metadata))).toThrow(message);
  });
});

it("a GGUF file larger than a buffer is read where its tensors are", () => {
  const path = join(folder, "large.gguf");
  scope(() => {
    const tensors = new Map([
      ["first", tensor([1, 2, 3])],
      ["last", tensor([4, 5])],
    ]);
    writeGguf(path, { "general.architecture": "llama" }, tensors, 5 * 2 ** 30); // a hole, which takes no space
    expect(statSync(path).size).toBeGreaterThan(5 * 2 ** 30);
    const read = readGguf(path).tensors;
    expect([...read].map(([name, values]) => [name, values.toArray()])).toEqual([
      ["first", [1, 2, 3]],
      ["last", [4, 5]],
    ]);
  });
});
