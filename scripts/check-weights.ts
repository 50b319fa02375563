// Simulates projects of rankings with known answers in a label store, and prints what weights careful, careless and adversarial labelers get:
// rankings of 2 to 9, shares of known answers from 0.02 to 0.2, ten seeds each. Fails if anybody who is better than chance gets
// less than a new labeler, or the adversary does not. `npm run check:weights -- [--seeds 10]`

import { parseArgs } from "node:util";
import { formatTable } from "../src/cli/terminal.ts";
import { labelerWeights } from "../src/labels/weights.ts";
import { kendallTau } from "../src/statistics/agreement.ts";
import { mean } from "../src/statistics/numbers.ts";
import { unprovenWeight } from "../src/statistics/reliability.ts";
import { simulateRankingsInStore } from "../test/simulated-labelers.ts";

const { values } = parseArgs({ options: { seeds: { type: "string", default: "10" } } });
const accuracies = [0.95, 0.9, 0.85, 0.8, 0.7, 0.05];
const rows: string[][] = [];
for (const completions of [2, 3, 4, 5, 6, 7, 8, 9])
  for (const goldRate of [0.02, 0.05, 0.1, 0.2]) {
    const projects: number[][] = [];
    for (let seed = 0; seed < Number(values.seeds); seed++) {
      const simulation = { completions, accuracies, tasks: 240, overlap: 2, goldRate, seed };
      const weights = labelerWeights(await simulateRankingsInStore(simulation));
      projects.push(accuracies.map((_, k) => weights.get(String(k)) as number));
    }
    const careful = projects.flatMap((weights) => weights.slice(0, -1));
    const adversaries = projects.map((weights) => weights.at(-1) as number);
    const order = projects.map((weights) => kendallTau(accuracies, weights) as number);
    if (Math.min(...careful) < unprovenWeight - 1e-9 || Math.max(...adversaries) >= unprovenWeight)
      process.exitCode = 1;
    rows.push([
      String(completions),
      String(goldRate),
      Math.min(...careful).toFixed(2),
      Math.max(...adversaries).toFixed(2),
      mean(order).toFixed(2),
    ]);
  }
console.log(
  formatTable([
    ["answers", "known", "lowest weight, 0.70 to 0.95", "highest weight, 0.05", "τ of weight and accuracy"],
    ...rows,
  ]),
);
