import { expect, it } from "vitest";
import { expectClose, f32, f64, goldenJson, i64 } from "../../../test/golden.ts";
import { tokenStatistics } from "../../math/index.ts";
import { ops, tensor } from "../../tensor/index.ts";
import { sftLoss } from "./loss.ts";

// Expected values: test/golden/make_losses.py, torch's cross_entropy in float64, ours in float32: 1e-5.
const { logits, targets, mask, loss, grad } = goldenJson("losses.json").sft;

it("equals torch's masked cross-entropy, whole and in parts, with its gradient", () => {
  const all = f32(logits);
  all.requiresGrad = true;
  const chosen = ops.nonzero(f64(mask).reshape(-1).gt(0)).squeeze(1);
  const flat = all.reshape(-1, all.size(-1)).indexSelect(0, chosen);
  const wanted = i64(targets).reshape(-1).indexSelect(0, chosen);
  const count = chosen.size(0);
  const whole = sftLoss(tokenStatistics(flat, wanted), count);
  expect(whole.loss.item()).toBeCloseTo(loss, 5);
  const parts = [0, 1].map((i) =>
    sftLoss(
      tokenStatistics(
        flat.narrow(0, i ? 3 : 0, i ? count - 3 : 3),
        wanted.narrow(0, i ? 3 : 0, i ? count - 3 : 3),
      ),
      count,
    ).loss.item(),
  );
  expect((parts[0] as number) + (parts[1] as number)).toBeCloseTo(loss, 5);
  whole.loss.backward();
  expectClose(all.grad, grad, 1e-5);
});

it("counts the tokens that were most likely", () => {
  const logits = tensor([0, 1, 0, 9, 0, 0, 0, 2, 1], { shape: [3, 3] });
  const { metrics } = sftLoss(tokenStatistics(logits, tensor([1, 0, 2], { dtype: "int64" })), 3);
  expect(metrics.correct.item()).toBeCloseTo(2 / 3, 6);
});
