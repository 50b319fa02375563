// npm run bench:memory: measures the memory of each part of training all weights of SmolLM2-135M.

import { pack } from "../src/batch/pack.ts";
import { formatTable } from "../src/cli/terminal.ts";
import { makeTokenIds } from "../src/eval/cost.ts";
import { logprobsOf } from "../src/math/index.ts";
import { loadModel } from "../src/models/pull.ts";
import { AdamW } from "../src/nn/adamw.ts";
import { memory, scope, tensor, trim } from "../src/tensor/index.ts";

const parts: [what: string, bytes: number][] = [];
/** Measures the bytes that native code has allocated, after freed blocks were returned to the system. */
const allocated = (): number => {
  trim();
  return memory().allocated ?? 0;
};
const measured = <T>(what: string, make: () => T): T => {
  const before = allocated();
  const made = make();
  parts.push([what, allocated() - before]);
  return made;
};

parts.push(["Node and libtorch", memory().resident]);
const loaded = await loadModel("smollm2-135m-instruct", { dtype: "bfloat16" });
const model = measured("weights, bfloat16 (2 bytes each)", () => loaded.clone());
loaded.dispose();
const optimizer = measured("low halves and moments (10 bytes each)", () => new AdamW(model.train().learned));
const forward = (tokens: number, done: (loss: ReturnType<typeof logprobsOf>) => void) =>
  scope(() => {
    const ids = makeTokenIds(tokens, model.dimensions.vocab);
    const hidden = model.hidden(pack([ids]));
    done(logprobsOf(model.logits(hidden), tensor(ids, { dtype: "int64" })).mean());
  });
for (const checkpointing of [false, true]) {
  model.gradientCheckpointing = checkpointing;
  const before = allocated();
  forward(512, () => {
    const kept = checkpointing ? ", checkpointed" : "";
    parts.push([`activations and logits of 512 tokens${kept}`, allocated() - before]);
  });
}
model.gradientCheckpointing = false;
measured("gradients, bfloat16 (2 bytes each)", () => forward(512, (loss) => loss.backward()));
optimizer.step(1e-6, 1);
const peak = process.resourceUsage().maxRSS * 1024;
parts.push(["most that was resident in all", peak]);
console.log(formatTable([["part", "GB"], ...parts.map(([what, bytes]) => [what, (bytes / 1e9).toFixed(2)])]));
process.exit(0);
