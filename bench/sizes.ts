// npm run bench:sizes: measures how the cost per token grows with the model, on random llamas of four sizes.
import { formatNumber, formatTable } from "../src/cli/terminal.ts";
import { growthExponent, samplingCost, trainingCost } from "../src/eval/cost.ts";
import { randomLlama, sizes, weightsOf } from "./random-llama.ts";

const measured: { weights: number; training: number; sampling: number }[] = [];
for (const size of sizes) {
  console.error(`${size} weights`);
  const model = randomLlama(size);
  measured.push({
    weights: weightsOf(model),
    training: (await trainingCost(model, 4, 128)) / (4 * 128),
    sampling: (await samplingCost(model, 8, 32)) / (8 * 32),
  });
  model.dispose();
}
console.log(
  formatTable([
    ["weights", "learning, tokens/s", "sampling 8 at once, tokens/s"],
    ...measured.map(({ weights, training, sampling }) => [
      `${formatNumber(weights / 1e6)} million`,
      formatNumber(1 / training),
      formatNumber(1 / sampling),
    ]),
  ]),
);
const grows = (of: "training" | "sampling") =>
  growthExponent(
    measured.map(({ weights }) => weights),
    measured.map((row) => row[of]),
  ).toFixed(2);
console.log(
  `\na token's cost grows as weights^${grows("training")} in learning, weights^${grows("sampling")} in sampling`,
);
process.exit(0);
