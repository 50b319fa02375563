import { expect, it } from "vitest";
import { tinyModel } from "../../../test/tiny.ts";
import { layOutResponses, responseStates } from "../../batch/score.ts";
import { generate } from "../../rollout/generate.ts";
import { capabilities, noGrad, scope } from "../../tensor/index.ts";
import { SampledStates } from "./sampled-states.ts";

// Large enough that another order of sums shows after rounding to bfloat16.
const shape = { head_dim: 64, num_hidden_layers: 6, max_position_embeddings: 512 };

// Without bfloat16 kernels states differ by rounding, and trainers do not reuse them (Model.isBatchInvariant).
it.skipIf(!capabilities().fastBf16).each([Number.POSITIVE_INFINITY, 19])(
  "states that responses are drawn from are those of a pass over them, bit for bit; window %d",
  async (window) => {
    const sliding = Number.isFinite(window) ? { model_type: "mistral", sliding_window: window } : {};
    const model = tinyModel(3, { ...shape, ...sliding }).clone({ dtype: "bfloat16" });
    expect(model.isBatchInvariant).toBe(true);
    const prompts = [105, 90, 1, 7].map((n) => Array.from({ length: n }, (_, i) => 65 + ((i * 11 + n) % 26)));
    const sampled = new SampledStates();
    // Rows end at different steps, so others move to their places, and short prompts begin where long rows were.
    const responses = await generate(model, prompts, {
      maxTokens: 90,
      samples: 3,
      batchSize: 6,
      temperature: 3,
      seed: 1,
      stopIds: Array.from({ length: 8 }, (_, i) => 30 * i),
      onStates: (hidden, rows) => sampled.record(hidden, rows),
    });
    expect(new Set(responses.map(({ tokens }) => tokens.length)).size).toBeGreaterThan(3);
    const rows = responses;
    sampled.finish(rows);
    noGrad(() =>
      scope(() => {
        for (const batch of [rows, ...rows.map((row) => [row])])
          expect(sampled.of(batch)?.toArray()).toEqual(
            responseStates(model, layOutResponses(batch)).toArray(),
          );
        const [row] = rows as [(typeof rows)[number]];
        expect(sampled.of([{ ...row, tokens: [...row.tokens, 65] }])).toBeUndefined();
        expect(sampled.of([{ ...row, promptTokens: [66, ...row.promptTokens] }])).toBeUndefined();
        sampled.dispose();
        expect(sampled.of([row])).toBeUndefined();
      }),
    );
    model.dispose();
  },
);
