import { expect, it } from "vitest";
import { tinyModel } from "../../test/tiny.ts";
import { DivergedError } from "../data/errors.ts";
import { Interrupted } from "../run/training.ts";
import { Stage } from "./stage.ts";

const config = { seed: 0, gradientCheckpointing: false, keepCheckpoints: 1 };

/** Takes a stage's only step, in which the stage is aborted and `error` is thrown. @returns what the stage throws */
async function abortedStep(error: (signal: AbortSignal) => unknown): Promise<unknown> {
  const controller = new AbortController();
  const { signal } = controller;
  const model = tinyModel();
  const stage = await Stage.open("test", model, { signal }, config, { step: 0, metrics: {} });
  try {
    stage.openRun({ total: 1, data: {}, parents: [] });
    const step = () => {
      controller.abort();
      throw error(signal);
    };
    for await (const _ of stage.steps({ saveEvery: 1, step }));
  } catch (thrown) {
    return thrown;
  } finally {
    stage.dispose();
    model.dispose();
  }
}

it("discards a step that is aborted", async () => {
  expect(await abortedStep((signal) => signal.reason)).toBeInstanceOf(Interrupted);
});

it("reports divergence during an abort, since the weights are not those of a whole step", async () => {
  expect(await abortedStep(() => new DivergedError("the loss is not finite"))).toBeInstanceOf(DivergedError);
});
